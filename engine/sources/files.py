"""What layouts need to know of a dataset's files before they read them, here, on the Hub or in a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace.engine.errors import DatasetError
from millrace.engine.sources.containment import ANYWHERE, check_own_paths
from millrace.engine.sources.file_state import FileState
from millrace.engine.sources.parquet import count_rows, list_parquet_files


class SourceFiles(Protocol):
    """The files of one dataset."""

    def bounds(self, root: Path) -> Path:
        """The folder that the files of a dataset must lie in: its own, or ANYWHERE."""

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""

    def state(self, path: Path) -> object:
        """What changes if a file does, the same for the same content in every process."""

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file below the dataset's root that fits the pattern, in the order of their numbers.

        A file that is no parquet has an error in place of a number.

        Raises:
            MillraceError: there is no such file.
        """


@dataclass(frozen=True)
class LocalFiles:
    """Files on this machine. follow_links: wherever links lead; else only to where `why_refused` allows."""

    follow_links: bool = False

    def bounds(self, root: Path) -> Path:
        """The folder that the files of a dataset must lie in."""
        return ANYWHERE if self.follow_links else root

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            return path.stat().st_size
        except (OSError, ValueError):  # ValueError: no path at all, by its characters
            return None

    def state(self, path: Path) -> object:
        """Size and time of change of a file."""
        return FileState.read(path)

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file, read from its footer."""
        return count_rows(check_own_paths(list_parquet_files(root, pattern), self.bounds(root)))


LOCAL = LocalFiles()
