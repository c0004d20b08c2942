"""Upload a folder to the Hub, a commit for every thousand files."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.about import child_command
from millrace.engine.errors import HubError
from millrace.engine.hub.calls import HubName, call_hub
from millrace.engine.hub.silence import silence_hub
from millrace.engine.layout import WORK

# A commit may hold 25,000 files, and a repository takes about a hundred commits an hour.
FILES_PER_COMMIT = 1000
# Seconds before each further try of a commit: five minutes in all.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0)
IGNORED = (WORK, ".cache", ".git")


def file_sizes(folder: Path, without: Sequence[str] = ()) -> dict[str, int]:
    """Bytes of each file of a folder that is uploaded, by its path in the folder; without: patterns of its entries."""
    files = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    left_out = (*IGNORED, *without)
    return {
        name.as_posix(): path.stat().st_size
        for name, path in files
        if not any(fnmatchcase(name.parts[0], pattern) for pattern in left_out)
    }


def commit_folder(folder: Path, name: HubName, *, last: str, without: Sequence[str] = ()) -> None:
    """Upload a folder in another process, which Ctrl-C ends at once: threads of this one would have to finish.

    Files that the Hub has are not sent again, so that a stopped upload is continued.

    Args:
        folder: Of a dataset or checkpoint.
        name: An existing repository.
        last: Folder or file of the last commit, without which the rest is no dataset.
        without: Patterns of the folder's entries that stay here.

    Raises:
        HubError: the upload failed.
    """
    command = child_command(__name__, "run_commit", str(folder), name.kind, name.repo, last, *without)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            told = process.stdout.read()
            process.wait()
        finally:
            process.kill()
    if process.returncode != 0:
        ended = (f"the upload to {name.repo} ended with {process.returncode}; ", Remedy("run the same command again"))
        raise HubError(*([told] if told else ended))


def run_commit(folder: str, kind: str, repo: str, last: str, *without: str) -> None:
    """Run in the other process: upload, print only the error, and end when the parent process ends."""
    threading.Thread(target=lambda: os._exit(os.read(0, 1) == b""), daemon=True).start()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        with silence_hub(has_bars=sys.stderr.isatty()):
            _commit_all(Path(folder), HubName("model" if kind == "model" else "dataset", repo), last, without)
    except HubError as error:
        os.write(answers, str(error).encode())
        os._exit(1)  # waits for no thread that still sends


def _commit_all(folder: Path, name: HubName, last: str, without: Sequence[str]) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    for paths in split_commits(list(file_sizes(folder, without)), last):

        def commit(paths: Sequence[str] = paths) -> None:
            files = [CommitOperationAdd(path, folder / path) for path in paths]
            HfApi().create_commit(name.repo, files, repo_type=name.kind, commit_message=f"Upload {len(files)} files")

        call_hub(commit, name, waits=WAITS)


def split_commits(paths: Sequence[str], last: str) -> Iterator[list[str]]:
    """Split the paths into commits; those below `last` come together, in the last one."""
    ending = [path for path in paths if path.split("/")[0] == last]
    others = sorted(set(paths) - set(ending))
    while len(others) > FILES_PER_COMMIT:
        yield others[:FILES_PER_COMMIT]
        del others[:FILES_PER_COMMIT]
    yield others + ending
