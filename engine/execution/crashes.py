"""Count how often an episode was started but not finished, to recognise an episode that crashes its worker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.engine.sources import name_file_in_errors

MAX_CRASHES = 3


@contextmanager
def count_crashes(index: int, scratch: Path) -> Iterator[int]:
    """Note on disk that an episode was started, until it ends; a process that crashes in between leaves the note.

    Args:
        index: The episode's number in the output.
        scratch: The run's own folder; each note holds the process IDs that began the episode.

    Yields:
        How many workers crashed over this episode in this run.
    """
    note = scratch / f"{index}.attempts"
    with name_file_in_errors(note), note.open("a+") as file:
        file.seek(0)
        num_crashes = len(file.readlines())
        file.write(f"{os.getpid()}\n")
    yield num_crashes
    note.unlink(missing_ok=True)  # another may have ended it, where this worker was given up for lost
