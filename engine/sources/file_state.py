"""Recognise changed files by size and time of change."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import overload

# File systems round times, to two seconds at most.
ROUNDING_NS = 2_000_000_000
# Size and time of change.
STATE = Struct("<qq")


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of change of a file; both are -1 where it cannot be seen."""

    num_bytes: int
    mtime_ns: int

    @classmethod
    def read(cls, path: Path | str) -> "FileState":
        """Read the state of a file."""
        try:
            state = os.stat(path)
        except OSError:
            return cls(-1, -1)
        return cls(state.st_size, state.st_mtime_ns)

    @property
    def is_seen(self) -> bool:
        """Whether there is such a file."""
        return self.num_bytes >= 0

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.mtime_ns / 1e9)
        return f"{self.num_bytes} bytes of {when:%Y-%m-%d %H:%M:%S}"


class FileStates(Sequence[FileState]):
    """States of the files of an episode, in a third of the memory that a tuple of them takes."""

    __slots__ = ("_packed",)

    def __init__(self, states: Iterable[FileState]) -> None:
        self._packed = b"".join(STATE.pack(state.num_bytes, state.mtime_ns) for state in states)

    def __eq__(self, other: object) -> bool:
        return self._packed == other._packed if isinstance(other, FileStates) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._packed)

    def __len__(self) -> int:
        return len(self._packed) // STATE.size

    @overload
    def __getitem__(self, index: int) -> FileState: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FileState, ...]: ...
    def __getitem__(self, index: int | slice) -> FileState | tuple[FileState, ...]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[FileState]:
        return (FileState(*state) for state in STATE.iter_unpack(self._packed))


def why_changed(files: Iterable[tuple[Path, FileState]]) -> str | None:
    """The first file that is gone, or another than it was, in words; None where all are the same.

    A file that was never seen, or that permissions or a disk hide by now, is left to whoever reads it.
    """
    for path, planned in files:
        now = FileState.read(path)
        if planned.is_seen and is_missing(path):
            return f"does not see {path}, which the plan saw: it was deleted since, or its disk is gone"
        if now.is_seen and planned.is_seen and not _is_same(now, planned):
            return (
                f"sees {path} with {now}, where the plan saw {planned}: it was changed since, or is another file on "
                "this machine"
            )
    return None


def is_missing(path: Path) -> bool:
    """Whether there is no such file; one that permissions or a disk hide may be there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_same(now: FileState, planned: FileState) -> bool:
    return now.num_bytes == planned.num_bytes and abs(now.mtime_ns - planned.mtime_ns) <= ROUNDING_NS
