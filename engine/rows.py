"""Rows of one episode: read from any parquet that LeRobot writes, written as GR00T reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import RowsError
from engine.layout import ACTION, STATE
from engine.lfs import ADVICE, is_lfs_pointer
from engine.sources.episode import RowRange, SourceEpisode
from engine.sources.parquet import EPISODE_INDEX, episode_ranges, may_hold, numbered


def locate_rows(episode: SourceEpisode) -> tuple[RowRange, ...]:
    """Where an episode's rows really lie: rows of shared files say themselves whose they are.

    Raises:
        MillraceError: no file holds them, or one cannot be read.
    """
    if episode.search is None or _are_of(episode):
        return episode.rows
    found = [
        rows
        for path in numbered(episode.search.rglob("*.parquet"))
        if may_hold(path, episode.index)
        for index, rows in episode_ranges(path)
        if index == episode.index
    ]
    if not found:
        raise RowsError(f"no rows of episode {episode.index} below {episode.search}")
    return tuple(found)


def _are_of(episode: SourceEpisode) -> bool:
    """Whether the expected rows exist and carry the episode's index."""
    for rows in episode.rows:
        with pq.ParquetFile(rows.path) as file:
            if rows.stop is None or rows.stop > file.metadata.num_rows:
                return False
    table = read_episode(episode.rows, [EPISODE_INDEX])
    return bool(pc.all(pc.equal(table.column(EPISODE_INDEX), episode.index)).as_py())


def read_episode(ranges: Sequence[RowRange], columns: Sequence[str]) -> pa.Table:
    """Those columns of all of an episode's rows, one after the other."""
    return pa.concat_tables([read_rows(rows, columns) for rows in ranges])


def read_rows(rows: RowRange, columns: Sequence[str]) -> pa.Table:
    """Those columns of an episode's rows; other row groups are not touched.

    Raises:
        RowsError: no such file, no parquet, a column or rows are missing.
    """
    if not rows.path.is_file():
        raise RowsError(f"no rows at {rows.path}")
    try:
        with pq.ParquetFile(rows.path) as file:
            missing = [name for name in columns if file.schema_arrow.names.count(name) != 1]
            if missing:
                known = ", ".join(file.schema_arrow.names)
                raise RowsError(f"{rows.path} has no column {', '.join(map(repr, missing))}. Known: {known}")
            return _read_range(file, rows, columns)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RowsError(f"{rows.path} {_diagnosis(rows.path, error)}") from error


def _read_range(file: pq.ParquetFile, rows: RowRange, columns: Sequence[str]) -> pa.Table:
    stop = file.metadata.num_rows if rows.stop is None else rows.stop
    if stop > file.metadata.num_rows:
        raise RowsError(f"{rows.path} has {file.metadata.num_rows} rows, expected rows [{rows.start}, {stop})")
    if rows.start == 0 and rows.stop is None:
        return file.read(list(columns), use_threads=False)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    ends = np.cumsum(sizes)
    starts = ends - sizes
    groups = np.flatnonzero((starts < stop) & (ends > rows.start)).tolist()
    table = file.read_row_groups(groups, list(columns), use_threads=False)
    return table.slice(rows.start - int(starts[groups[0]]), stop - rows.start)


def _diagnosis(path: Path, error: Exception) -> str:
    if is_lfs_pointer(path):
        return ADVICE
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"is truncated or corrupt ({reason})"


def vectors(table: pa.Table, column: str, *, where: Path | str) -> NDArray[np.float32]:
    """A numeric column as (T, D) float32; scalars count as D = 1.

    Raises:
        RowsError: nulls, lists of unequal length, values that are not finite numbers.
    """
    values = _numbers(table, column, where).astype(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, joint = bad[0].tolist()
        raise RowsError(
            f"column '{column}' has {len(bad)} values that are NaN or infinite in {where}, "
            f"the first in row {row}, value {joint}"
        )
    return values


def integers(table: pa.Table, column: str, *, where: Path | str) -> NDArray[np.int64]:
    """A column of one whole number a row as (T,) int64."""
    values = _numbers(table, column, where)
    if values.shape[1] != 1 or np.any(values != np.round(values)):
        raise RowsError(f"column '{column}' in {where} does not hold one whole number a row")
    return values[:, 0].astype(np.int64)


def _numbers(table: pa.Table, column: str, where: Path | str) -> NDArray[Any]:
    """A column as (T, D), in the file's own type."""
    array = table.column(column).combine_chunks()
    if array.null_count:
        raise RowsError(f"column '{column}' has {array.null_count} null rows in {where}")
    width = 1
    if _is_list(array.type):
        lengths = pc.unique(pc.list_value_length(array)).to_pylist()
        if len(lengths) > 1:
            raise RowsError(f"column '{column}' has rows of {sorted(lengths)} values in {where}")
        width = lengths[0] if lengths else 0
        array = array.flatten()
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        raise RowsError(f"column '{column}' holds {array.type} in {where}, not numbers")
    if array.null_count:
        raise RowsError(f"column '{column}' has {array.null_count} null values in {where}")
    # Not to_numpy: it imports pandas, a second and 60 MB in each worker.
    return np.from_dlpack(array).reshape(len(table), width)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


@dataclass(frozen=True)
class EpisodeRows:
    """An output episode's rows; T frames.

    state (T, D) float32, action (T, D') float32, task_index (T,) int64; first_index: the global index
    of its first frame.
    """

    episode_index: int
    first_index: int
    timestamp: NDArray[np.float32]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    task_index: NDArray[np.int64]

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """By column name, in the order of the file."""
        frames = np.arange(len(self.state), dtype=np.int64)
        return {
            STATE: self.state,
            ACTION: self.action,
            "timestamp": self.timestamp,
            "frame_index": frames,
            "episode_index": np.full(len(frames), self.episode_index, dtype=np.int64),
            "index": frames + self.first_index,
            "task_index": self.task_index,
        }


def write_rows(path: Path, rows: EpisodeRows) -> None:
    """Write the columns as parquet; vectors as fixed-size lists of float32."""
    arrays = {name: _arrow(values) for name, values in rows.columns().items()}
    pq.write_table(pa.table(arrays), path)


def _arrow(values: NDArray[Any]) -> pa.Array:
    """(T,) or (T, D) numbers without a copy, and without pandas, which pa.array imports."""
    kind = pa.from_numpy_dtype(values.dtype)
    flat = pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(np.ascontiguousarray(values))])
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
