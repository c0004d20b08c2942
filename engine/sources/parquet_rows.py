"""The rows of one parquet file, which thousands of episodes may share."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from millrace.engine.sources.checked_parquet import CheckedParquet
from millrace.engine.sources.damage import TooLarge
from millrace.engine.sources.row_stream import RowStream


class ParquetRows:
    """Keeps the row groups read last: one may hold thousands of episodes, too much to read for each of them."""

    def __init__(self, path: Path) -> None:
        self._file = CheckedParquet(path)
        self._stream: RowStream | None = None  # of row groups that are too large to be held
        self._held: tuple[Sequence[int], tuple[str, ...]] | None = None
        self._table: pa.Table | None = None
        self.names = self._file.names
        # The footer may give another sum.
        self.num_rows = int(self._file.ends[-1]) if len(self._file.ends) else 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        """Those columns of rows [start, stop); other row groups are not touched."""
        file = self._file
        groups = file.find_groups(start, stop)
        if self._held != (groups, columns):
            self._table = self._held = None  # not two tables at a time
            try:
                self._table, self._held = file.read(groups, columns), (groups, columns)
            except TooLarge:
                return self._read_stream(columns).read(start, stop)
        assert self._table is not None, "a table is held"
        first = int(file.ends[groups[0] - 1]) if groups and groups[0] else 0
        return self._table.slice(start - first, stop - start)

    def _read_stream(self, columns: tuple[str, ...]) -> RowStream:
        if self._stream is None or self._stream.columns != columns:
            self._stream = RowStream(self._file, columns)
        return self._stream
