"""A file is digested by one of those that ask at the same time, and again only where it was changed."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from millrace.engine.dataset import file_digests
from millrace.engine.dataset.file_digests import FileDigests

CONTENT = b"clip" * (1 << 20)


class Opened:
    """How often Python opens a file while it is watched."""

    def __init__(self, path: Path) -> None:
        self.path, self.num_times, self.is_watched = str(path), 0, True
        sys.addaudithook(self._note)  # for good: Python takes no hook back

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        self.num_times += self.is_watched and event == "open" and str(args[0]) == self.path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file-000.mp4").write_bytes(CONTENT)
    return tmp_path / "file-000.mp4"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    watched = Opened(path)
    yield watched
    watched.is_watched = False


def find(folder: Path, path: Path) -> str:
    """As a process that has not asked before."""
    file_digests._find.cache_clear()
    state = path.stat()
    return FileDigests(folder).find(path, state.st_size, state.st_mtime_ns)


def test_one_of_many_that_ask_reads_the_file(path: Path, opened: Opened, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: find(tmp_path / "digests", path), range(8)))
    assert set(found) == {sha256(CONTENT).hexdigest()}
    assert opened.num_times == 1


def test_a_file_that_was_changed_is_read_again(path: Path, opened: Opened, tmp_path: Path) -> None:
    find(tmp_path / "digests", path)
    path.write_bytes(b"another")
    before = opened.num_times
    assert find(tmp_path / "digests", path) == sha256(b"another").hexdigest()
    assert opened.num_times == before + 1


def test_what_a_killed_process_left_half_written_does_not_count(path: Path, tmp_path: Path) -> None:
    find(tmp_path / "digests", path)
    (told,) = (tmp_path / "digests").iterdir()
    told.write_text("ab")
    assert find(tmp_path / "digests", path) == sha256(CONTENT).hexdigest()
