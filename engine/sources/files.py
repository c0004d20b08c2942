"""What layouts ask of a dataset's files before they are read, wherever these lie."""

from pathlib import Path
from typing import Protocol

from engine.errors import DatasetError
from engine.sources.containment import all_own
from engine.sources.parquet import count_rows, parquet_files


class SourceFiles(Protocol):
    """The files of one dataset."""

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file below the dataset's root that fits the pattern, in the order of their numbers.

        A file that is no parquet has an error in place of a number.

        Raises:
            MillraceError: there is no such file.
        """


class LocalFiles:
    """Files on this machine."""

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            return path.stat().st_size
        except (OSError, ValueError):  # ValueError: no path at all, by its characters
            return None

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file, read from its footer."""
        return count_rows(all_own(parquet_files(root, pattern), root))


LOCAL = LocalFiles()
