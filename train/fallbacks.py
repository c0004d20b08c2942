"""Say that GR00T's own, slower way is taken where ours would give other values: in the process's log, and to the user.

Loader processes know their run by an environment variable, which they inherit.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millrace.train.train_progress import Noted, append_event

RUN_FOLDER = "MILLRACE_RUN_FOLDER"


@contextmanager
def announce_fallbacks(folder: Path) -> Iterator[None]:
    """Let fallbacks of this process, and of those that it starts in the block, be shown by the run in a folder."""
    before = os.environ.get(RUN_FOLDER)
    os.environ[RUN_FOLDER] = str(folder)
    try:
        yield
    finally:
        del os.environ[RUN_FOLDER]
        if before is not None:
            os.environ[RUN_FOLDER] = before


def warn_fallback(message: str) -> None:
    """Warn of a fallback, which changes the speed alone."""
    warnings.warn(message, stacklevel=3)
    if folder := os.environ.get(RUN_FOLDER):
        with suppress(OSError):  # the run itself meets whatever is wrong with its folder
            append_event(Path(folder), Noted(step=0, what=message))
