"""Recognise changed files by size and time of change."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

# File systems round times, to two seconds at most.
ROUNDING_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of change of a file; both are -1 where it cannot be seen."""

    num_bytes: int
    mtime_ns: int

    @classmethod
    def read(cls, path: Path) -> "FileState":
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
