"""Read rows of large row groups forwards, a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from millrace.engine.sources.checked_parquet import CheckedParquet, check_size
from millrace.engine.sources.thrift import Malformed

BATCH_ROWS = 1 << 12
# A picture of 480x640 may take half a megabyte: few rows in memory at a time.
PICTURE_ROWS, PICTURE_BUFFER_BYTES = 16, 1 << 20
# Cameras of one robot. A kept stream holds a page, which a thousand pictures may share: of all streams together.
MAX_KEPT, MAX_KEPT_BYTES = 8, 384 << 20


class RowStream:
    """Reads ranges of rows, which cost nothing but themselves while they follow one another.

    Args:
        file: The open file.
        columns: What is read.
        batch_rows: So many rows are in memory at a time, and those asked for.
    """

    def __init__(self, file: CheckedParquet, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS) -> None:
        self.columns = columns
        self._file, self._batch_rows = file, batch_rows
        self._batches: Iterator[pa.Table] = iter(())
        self._group = -1
        self._batch: pa.Table | None = None
        self._start = 0  # the batch's first row

    @property
    def num_rows(self) -> int:
        """Number of rows of the file."""
        return int(self._file.ends[-1]) if len(self._file.ends) else 0

    @property
    def held_bytes(self) -> int:
        """About how many bytes it holds between reads."""
        return 0 if self._batch is None else self._file.largest_page(self._group, self.columns)

    def close(self) -> None:
        """Close the file."""
        self._batches, self._batch = iter(()), None
        self._file.close()

    def read(self, start: int, stop: int) -> pa.Table:
        """Rows [start, stop) as one table.

        Raises:
            TooLarge: they take more memory than their bytes in the file allow.
            Malformed, pa.ArrowException: the file is damaged.
        """
        groups = self._file.find_groups(start, stop)
        num_rows = sum(self._file.footer.groups[group].num_rows for group in groups)
        sizes = self._file.num_bytes(groups, self.columns), self._file.num_stored(groups, self.columns)
        num_bytes, num_stored = (size * (stop - start) // max(num_rows, 1) for size in sizes)
        check_size(self.columns, num_bytes, num_stored=num_stored)
        batches: list[pa.Table] = []
        num_held = 0
        for batch in self.read_batches(start, stop):
            batches.append(batch)
            num_held += batch.nbytes  # texts that repeat take more than their pages tell
            check_size(self.columns, num_held, num_stored=num_stored)
        return pa.concat_tables(batches)

    def read_batches(self, start: int, stop: int) -> Iterator[pa.Table]:
        """Rows [start, stop), a batch at a time; at least one, which may be empty."""
        while True:
            batch = self._find(start)
            part = batch.slice(start - self._start, stop - start)
            yield part
            start += len(part)
            if start >= stop:
                return

    def _find(self, row: int) -> pa.Table:
        """The batch that a row lies in."""
        group = min(int(np.searchsorted(self._file.ends, row, side="right")), len(self._file.ends) - 1)
        if self._batch is None or group != self._group or row < self._start:
            self._batches = self._file.batches(group, self.columns, self._batch_rows)
            self._group, self._batch = group, None
            self._start = int(self._file.ends[group - 1]) if group else 0
        while self._batch is None or row >= self._start + len(self._batch):
            self._start += 0 if self._batch is None else len(self._batch)
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise Malformed(f"row group {group} ends before row {row}")
        return self._batch


_Key = tuple[Path, int, int, str]
# Of this process, the last used last; with what each holds, as its file may have changed when another is asked for.
_kept: dict[_Key, tuple[RowStream, int]] = {}


@contextmanager
def open_image_stream(path: Path, column: str) -> Iterator[RowStream]:
    """A stream of a column of images; continues the previous episode's stream where possible.

    Raises:
        Malformed, OSError, pa.ArrowException: the file is no parquet, or damaged.
    """
    state = path.stat()
    key = (path, state.st_size, state.st_mtime_ns, column)
    stream, _ = _kept.pop(key, (None, 0))
    if stream is None:
        file = CheckedParquet(path, buffer_size=PICTURE_BUFFER_BYTES)
        stream = RowStream(file, [column], batch_rows=PICTURE_ROWS)
    try:
        yield stream
        _kept[key] = stream, stream.held_bytes
    except BaseException:
        stream.close()
        raise
    while len(_kept) > MAX_KEPT or sum(num_bytes for _, num_bytes in _kept.values()) > MAX_KEPT_BYTES:
        _kept.pop(next(iter(_kept)))[0].close()
