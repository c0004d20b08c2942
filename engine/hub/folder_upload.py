"""Upload a folder to the Hub, a commit for every thousand files."""

import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.about import child_command
from millrace.engine.errors import HubError
from millrace.engine.hub.calls import HubName, call_hub, list_files
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


def stray_files(there: Iterable[str], here: Collection[str], folders: Collection[str]) -> list[str]:
    """Files of a repository in such folders that are none of those here: of what was uploaded before."""
    return sorted(path for path in there if path.split("/")[0] in folders and path not in here)


def commit_folder(
    folder: Path, name: HubName, *, last: str, replaced: Sequence[str] = (), without: Sequence[str] = ()
) -> None:
    """Upload a folder in another process, which Ctrl-C ends at once: threads of this one would have to finish.

    Files that the Hub has are not sent again, so that a stopped upload is continued.

    Args:
        folder: Of a dataset or checkpoint.
        name: An existing repository.
        last: Folder or file of the last commit, without which the rest is no dataset.
        replaced: Folders in which files of the repository that are not here are deleted.
        without: Patterns of the folder's entries that stay here.

    Raises:
        HubError: the upload failed.
    """
    lists = ",".join(replaced), ",".join(without)
    command = child_command(__name__, "run_commit", str(folder), name.kind, name.repo, last, *lists)
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


def run_commit(folder: str, kind: str, repo: str, last: str, replaced: str, without: str) -> None:
    """Run in the other process: upload, print only the error, and end when the parent process ends.

    replaced, without: see `commit_folder`, commas between.
    """
    threading.Thread(target=lambda: os._exit(os.read(0, 1) == b""), daemon=True).start()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        with silence_hub(has_bars=sys.stderr.isatty()):
            name = HubName("model" if kind == "model" else "dataset", repo)
            _commit_all(Path(folder), name, last, _listed(replaced), _listed(without))
    except HubError as error:
        os.write(answers, str(error).encode())
        os._exit(1)  # waits for no thread that still sends


def _listed(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _commit_all(folder: Path, name: HubName, last: str, replaced: Sequence[str], without: Sequence[str]) -> None:
    here = file_sizes(folder, without)
    strays = stray_files(call_hub(lambda: list_files(name), name), here, replaced) if replaced else []
    while len(strays) > FILES_PER_COMMIT:
        _commit(folder, name, (), strays[:FILES_PER_COMMIT])
        del strays[:FILES_PER_COMMIT]
    *before, ending = split_commits(list(here), last)
    for paths in before:
        _commit(folder, name, paths, ())
    _commit(folder, name, ending, strays)


def _commit(folder: Path, name: HubName, paths: Sequence[str], strays: Sequence[str]) -> None:
    """Make one commit: files of the folder, and which of the repository's are deleted."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    tries: Iterator[int] = count()

    def commit() -> None:
        is_again = next(tries) > 0  # an earlier try may have deleted them
        there = list_files(name) if strays and is_again else strays
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, folder / path) for path in paths
        ]
        changes += [CommitOperationDelete(path) for path in strays if path in there]
        HfApi().create_commit(name.repo, changes, repo_type=name.kind, commit_message=_describe(paths, strays))

    call_hub(commit, name, waits=WAITS)


def _describe(paths: Sequence[str], strays: Sequence[str]) -> str:
    if not strays:
        return f"Upload {len(paths)} files"
    return f"Upload {len(paths)} files, delete {len(strays)} of an earlier upload"


def split_commits(paths: Sequence[str], last: str) -> Iterator[list[str]]:
    """Split the paths into commits; those below `last` come together, in the last one."""
    ending = [path for path in paths if path.split("/")[0] == last]
    others = sorted(set(paths) - set(ending))
    while len(others) > FILES_PER_COMMIT:
        yield others[:FILES_PER_COMMIT]
        del others[:FILES_PER_COMMIT]
    yield others + ending
