"""Parquet as sources open it: footers, and the columns of meta/; rows of data/ are for the workers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.errors import DatasetError, FaultCode
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.footer import read_num_rows

EPISODE_INDEX = "episode_index"
BATCH_ROWS = 1 << 16


class SharedRows:
    """Files whose rows, one after the other, are the dataset's."""

    def __init__(self, counts: Mapping[Path, int | DatasetError], bounds: Path, *, num_listed: int) -> None:
        """Take in files with their rows, or why they cannot be read.

        Args:
            counts: The files, in order.
            bounds: The folder that they must lie in.
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
        self.bounds = bounds
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
            ranges.append(RowRange(self._paths[number], start - first, end - first, self.bounds))
            start, number = end, number + 1
        return tuple(ranges)


def list_parquet_files(root: Path, pattern: str) -> list[Path]:
    """Files below a dataset's root that fit a pattern, in the order of the numbers in them; hidden ones are ignored."""
    return sort_by_number(path for path in root.glob(pattern) if not is_hidden(path.relative_to(root)))


def is_hidden(relative: PurePath) -> bool:
    """Whether a system or an editor left a file: ._NAME beside NAME of macOS, .ipynb_checkpoints/."""
    return any(part.startswith(".") for part in relative.parts)


def sort_by_number(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by the numbers in them: file-2 before file-10."""
    return sorted(paths, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path)])


def _parts(path: Path) -> list[str]:
    return re.split(r"(\d+)", str(path))


def count_rows(paths: Sequence[Path]) -> dict[Path, int | DatasetError]:
    """Rows of each file, or why they cannot be read; what else its footer says is checked by whoever reads the rows.

    Raises:
        DatasetError: there is no file.
    """
    if not paths:
        raise DatasetError("the dataset has no parquet file below data/")
    return {path: _count(path) for path in paths}


def _count(path: Path) -> int | DatasetError:
    try:
        return _read_num_rows(path)
    except DatasetError as error:
        parquet_damage(path, error)
        return error


def parquet_damage(path: Path, error: DatasetError) -> FaultCode:
    """The fault code of a parquet file that could not be read.

    Raises:
        DatasetError: the error itself, where the system refuses the file; that may pass, and is no damage.
    """
    code, _ = diagnose_file(path, error.__cause__ or error)
    if code is FaultCode.UNREADABLE:
        raise error
    return code


def _read_num_rows(path: Path) -> int:
    with _naming_damage(path), path.open("rb") as file:
        return read_num_rows(file)


def read_schema(path: Path) -> pa.Schema:
    """The file's columns and their types."""
    with _naming_damage(path), CheckedParquet(path) as file:
        file.schema.to_string()  # every name in it is read
        return file.schema


def read_columns(path: Path, needed: Sequence[str], *, optional: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Columns of a metadata file as lists, the optional ones where they exist.

    Raises:
        DatasetError: the file or a column is missing, or it is no parquet.
    """
    with _naming_damage(path), CheckedParquet(path) as file:
        known = file.names
        missing = [name for name in needed if known.count(name) != 1]
        if missing:
            message = f"{path} has no column {', '.join(missing)}. Known: {', '.join(known)}"
            raise DatasetError(message, file=path, got=missing, known=tuple(known))
        return file.read_lists([*needed, *(name for name in optional if known.count(name) == 1)])


def read_first_row(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """The first row of a file by column; empty for a file without rows."""
    with _naming_damage(path), CheckedParquet(path) as file:
        rows = file.read_head(columns)
        return rows[0] if rows else {}


def episode_ranges(path: Path, root: Path | None = None) -> Iterator[tuple[int, RowRange]]:
    """Which rows of a shared file are which episode's; an episode may go on in the next file."""
    start, index = 0, None
    for first, indices in _episode_indices(path):
        for place in [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist()] if len(indices) else ():
            if indices[place] != index:
                if index is not None:
                    yield index, RowRange(path, start, first + place, root)
                start, index = first + place, int(indices[place])
        stop = first + len(indices)
    if index is not None:
        yield index, RowRange(path, start, stop, root)


def read_episode_runs(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Runs of rows of one episode in a shared file: each one's episode and first row, (R,); and the file's rows.

    Raises:
        DatasetError: it is no parquet, or does not say whose rows it holds.
    """
    numbers, starts, num_rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for first, indices in _episode_indices(path):
        if len(indices):
            begins = np.flatnonzero(np.diff(indices, prepend=indices[0])).astype(np.int64)
            if not len(numbers[-1]) or numbers[-1][-1] != indices[0]:
                begins = np.concatenate([[0], begins])
            if len(begins):
                numbers.append(indices[begins])
                starts.append(first + begins)
        num_rows = first + len(indices)
    return np.concatenate(numbers), np.concatenate(starts), num_rows


def _episode_indices(path: Path) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The column episode_index, a batch of rows at a time, and the number of each batch's first row."""
    with _naming_damage(path), CheckedParquet(path) as file:
        known = file.names
        if known.count(EPISODE_INDEX) != 1:
            message = f"{path} has no one column {EPISODE_INDEX}. Known: {', '.join(known)}"
            raise DatasetError(message, file=path, got=EPISODE_INDEX, known=tuple(known))
        first = 0
        for group in file.all_groups:
            for batch in file.batches(group, [EPISODE_INDEX], BATCH_ROWS):
                values = batch.column(0).combine_chunks().cast(pa.int64())
                yield first, np.asarray(np.from_dlpack(values))
                first += len(batch)


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Turn what a library finds wrong with a file into an error that names the file.

    Raises:
        DatasetError: in place of that error.
    """
    try:
        yield
    except DAMAGE as error:
        raise DatasetError(f"{path} ", diagnose_file(path, error)[1], file=path) from error
