"""Parquet as sources open it: footers, and the columns of meta/; rows of data/ are for the workers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.damage import diagnose
from engine.errors import DatasetError
from engine.faults import FaultCode
from engine.lfs import ADVICE, is_lfs_pointer
from engine.sources.episode import RowRange

EPISODE_INDEX = "episode_index"
# Of one column in one read, a gigabyte of float32: a footer may claim any number, and memory is taken for it.
MAX_VALUES = 1 << 28
MAX_COLUMN_BYTES = 1 << 31
# Of pyarrow at a damaged file; texts and names that are no UTF-8, and times out of range, show as they become Python's.
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)


class SharedRows:
    """Files whose rows, one after the other, are the dataset's."""

    def __init__(self, counts: Mapping[Path, int | DatasetError], root: Path, *, num_listed: int) -> None:
        """Take in files with their rows, or why they cannot be read.

        Args:
            counts: The files, in order.
            root: The folder that they must lie in.
            num_listed: Rows that the metadata lists; those that the readable files lack lie in the broken one.

        Raises:
            DatasetError: no file can be read.
        """
        self.broken = {path: error for path, error in counts.items() if isinstance(error, DatasetError)}
        if len(self.broken) == len(counts):
            raise next(iter(self.broken.values()))
        num_read = sum(count for count in counts.values() if isinstance(count, int))
        num_rows = {path: count for path, count in counts.items() if isinstance(count, int)}
        if len(self.broken) == 1:
            num_rows = {path: num_rows.get(path, max(0, num_listed - num_read)) for path in counts}
        self._root = root
        self._paths = list(num_rows)
        self._ends = np.cumsum(list(num_rows.values()), dtype=np.int64)

    def slice(self, start: int, stop: int) -> tuple[RowRange, ...]:
        """The dataset's rows [start, stop); those past the end are asked of the last file."""
        ranges = []
        number = min(int(np.searchsorted(self._ends, start, side="right")), len(self._paths) - 1)
        while start < stop:
            first = int(self._ends[number - 1]) if number else 0
            is_last = number == len(self._paths) - 1
            end = stop if is_last else min(stop, int(self._ends[number]))
            ranges.append(RowRange(self._paths[number], start - first, end - first, self._root))
            start, number = end, number + 1
        return tuple(ranges)


def parquet_files(root: Path, pattern: str) -> list[Path]:
    """Files below a dataset's root that fit a pattern, in the order of the numbers in them; hidden ones are ignored."""
    return numbered(path for path in root.glob(pattern) if not is_hidden(path.relative_to(root)))


def is_hidden(relative: PurePath) -> bool:
    """Whether a system or an editor left a file: ._NAME beside NAME of macOS, .ipynb_checkpoints/."""
    return any(part.startswith(".") for part in relative.parts)


def numbered(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of the numbers in them: file-2 before file-10."""
    return sorted(paths, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path)])


def _parts(path: Path) -> list[str]:
    return re.split(r"(\d+)", str(path))


def count_rows(paths: Sequence[Path]) -> dict[Path, int | DatasetError]:
    """Rows of each file, read from its footer, or why it cannot be read.

    Raises:
        DatasetError: there is no file.
    """
    if not paths:
        raise DatasetError("the dataset has no parquet file below data/")
    return {path: _count(path) for path in paths}


def _count(path: Path) -> int | DatasetError:
    try:
        return int(_open(path).num_rows)
    except DatasetError as error:
        damage_of(path, error)
        return error


def damage_of(path: Path, error: DatasetError) -> FaultCode:
    """How a file is damaged that could not be read.

    Raises:
        DatasetError: the error itself, where the system refuses the file; that may pass, and is no damage.
    """
    code, _ = diagnose(path, error.__cause__ or error)
    if code is FaultCode.UNREADABLE:
        raise error
    return code


def read_schema(path: Path) -> pa.Schema:
    """The file's columns and their types."""
    metadata = _open(path)
    try:
        schema = metadata.schema.to_arrow_schema()
        schema.to_string()  # every name in it is read
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    return schema


def _open(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except DAMAGE as error:
        raise _unreadable(path, error) from error


def read_columns(path: Path, needed: Sequence[str], *, optional: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Columns of a metadata file as lists, the optional ones where they exist.

    Raises:
        DatasetError: the file or a column is missing, or it is no parquet.
    """
    known = read_schema(path).names
    missing = [name for name in needed if known.count(name) != 1]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}. Known: {', '.join(known)}")
    wanted = [*needed, *(name for name in optional if known.count(name) == 1)]
    try:
        with pq.ParquetFile(path) as file:
            if reason := why_too_large(file.metadata, range(file.num_row_groups), wanted):
                raise DatasetError(f"{path} {reason}")
            table = file.read(wanted, use_threads=False)
        return {name: table.column(name).to_pylist() for name in wanted}
    except DAMAGE as error:
        raise _unreadable(path, error) from error


def why_too_large(footer: pq.FileMetaData, groups: Iterable[int], columns: Sequence[str]) -> str | None:
    """Why columns of some row groups must not be read into memory, told by the footer; None where they may."""
    num_values, num_bytes = dict.fromkeys(columns, 0), dict.fromkeys(columns, 0)
    for group in groups:
        chunks = footer.row_group(group)
        for chunk in map(chunks.column, range(chunks.num_columns)):
            name = next((name for name in columns if f"{chunk.path_in_schema}.".startswith(f"{name}.")), None)
            if name is not None:
                num_values[name] += chunk.num_values
                num_bytes[name] += chunk.total_uncompressed_size
    for name in columns:
        if num_values[name] > MAX_VALUES or num_bytes[name] > MAX_COLUMN_BYTES:
            return (
                f"holds {num_values[name]} values, {num_bytes[name]} bytes, in column {name!r}; "
                f"at most {MAX_VALUES} and {MAX_COLUMN_BYTES} are read at a time"
            )
    return None


def read_first_row(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """The first row of a file by column; empty for a file without rows."""
    try:
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(1, columns=list(columns), use_threads=False), None) if columns else None
        rows: list[dict[str, Any]] = [] if batch is None else batch.to_pylist()
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    return rows[0] if rows else {}


def episode_ranges(path: Path, root: Path | None = None) -> Iterator[tuple[int, RowRange]]:
    """Which rows of a shared file are which episode's; an episode may go on in the next file."""
    indices = _episode_indices(path)
    bounds = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield int(indices[start]), RowRange(path, start, stop, root)


def _episode_indices(path: Path) -> NDArray[np.int64]:
    known = read_schema(path).names
    if known.count(EPISODE_INDEX) != 1:
        raise DatasetError(f"{path} has no one column {EPISODE_INDEX}. Known: {', '.join(known)}")
    try:
        with pq.ParquetFile(path) as file:
            if reason := why_too_large(file.metadata, range(file.num_row_groups), [EPISODE_INDEX]):
                raise DatasetError(f"{path} {reason}")
            values = file.read([EPISODE_INDEX], use_threads=False).column(EPISODE_INDEX)
        return np.asarray(np.from_dlpack(values.combine_chunks().cast(pa.int64())))
    except DAMAGE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DatasetError:
    if is_lfs_pointer(path):
        return DatasetError(f"{path} {ADVICE}")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DatasetError(f"{path} is truncated or corrupt ({reason})")
