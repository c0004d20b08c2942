"""Columns of numbers as arrays, and an output episode's rows as GR00T reads them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.layout import ACTION, STATE
from millrace.engine.sources import RowRange, diagnose_file, name_file_in_errors
from millrace.engine.sources.row_reader import read_rows
from millrace.engine.text import join_names


def read_table(path: Path, columns: Iterable[str]) -> pa.Table:
    """Read columns of a whole parquet file, each once.

    Raises:
        RowsError: no such file, no parquet, a column is missing.
    """
    return read_rows(RowRange(path), tuple(columns))


def read_known_vectors(path: Path, columns: Iterable[str], digest: bytes) -> dict[str, NDArray[np.float32]]:
    """Read columns of a file that we wrote ourselves, (T, D) each; its SHA-256 takes the place of checks of its footer.

    Raises:
        RowsError: it has another digest by now, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        code, what = diagnose_file(path, error)
        raise RowsError(f"{path} ", what, code=code, file=path) from error
    if hashlib.sha256(content).digest() != digest:
        advice = Remedy("have it made again with ", Setting("verify", True))
        raise RowsError(f"{path} has other content than was written to it; ", advice, code=FaultCode.CHANGED, file=path)
    table = pq.ParquetFile(pa.BufferReader(content)).read(list(columns), use_threads=False)
    return {name: read_vectors(table, name, where=path) for name in columns}


def read_vectors(
    table: pa.Table, column: str, *, where: Path | str, used: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Read a numeric column as (T, D) float32: D = 1 for scalars, 0 and 1 for truth values, lists of lists row by row.

    Args:
        table: Rows.
        column: One of its columns.
        where: The file, for errors.
        used: Places that must hold finite numbers, (K,); None: all. What is beyond D is another's to judge.

    Raises:
        RowsError: nulls, lists of unequal length, values that are not finite numbers.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is told below
        values = _read_column(table, column, where).astype(np.float32)
    is_bad = ~np.isfinite(values)
    if used is not None:
        is_bad[:, np.setdiff1d(np.arange(values.shape[1]), used)] = False
    if is_bad.any():
        bad = np.argwhere(is_bad)
        row, joint = bad[0].tolist()
        raise RowsError(
            f"column '{column}' has {len(bad)} values that are NaN or infinite in {where}, "
            f"the first in row {row}, value {joint}",
            code=FaultCode.NOT_FINITE,
            got=str(values[row, joint]),
            expected="a finite number",
        )
    return values


def read_numbers(table: pa.Table, column: str, *, where: Path | str) -> NDArray[Any]:
    """Read a column of numbers or truth values as (T, D) in its own type, NaN and infinity as they are."""
    return _read_column(table, column, where)


def read_integers(table: pa.Table, column: str, *, where: Path | str) -> NDArray[np.int64]:
    """Read a column of one whole number a row as (T,) int64."""
    values = _read_column(table, column, where)
    if values.shape[1] != 1 or np.any(values != np.round(values)):
        message = f"column '{column}' in {where} does not hold one whole number a row"
        raise RowsError(message, code=FaultCode.NOT_NUMBERS, expected="one whole number a row")
    return values[:, 0].astype(np.int64)


def read_scalars(table: pa.Table, column: str, *, where: Path | str) -> NDArray[np.float64]:
    """Read a column of one number a row as (T,) float64, NaN and infinity as they are.

    Raises:
        RowsError: nulls, lists of several values, values that are no numbers.
    """
    values = _read_column(table, column, where)
    if values.shape[1] != 1:
        message = f"column '{column}' holds {values.shape[1]} values a row in {where}, not one"
        raise RowsError(message, code=FaultCode.WIDTH, got=values.shape[1], expected=1)
    return values[:, 0].astype(np.float64)


def _read_column(table: pa.Table, column: str, where: Path | str) -> NDArray[Any]:
    """A column as (T, D), in the file's own type."""
    try:
        values = to_numbers(table.column(column), where=f" in {where}")
    except RowsError as error:
        raise RowsError(f"column '{column}' ", error, code=error.code) from None
    return values if values.ndim == 2 else values[:, None]


def to_numbers(column: pa.Array | pa.ChunkedArray, *, where: str = "", fill_nan: bool = False) -> NDArray[Any]:
    """An Arrow column as (num_rows,) of numbers or (num_rows, D) of lists, in its own type; lists of lists row by row.

    Arrow's own conversion imports pandas: a second and 60 MB in each process.

    Args:
        column: Numbers, truth values, or lists of them.
        where: Words that errors add, such as " in FILE".
        fill_nan: Return missing numbers as NaN, and whole numbers then as float64.

    Raises:
        RowsError: missing lists or numbers, lists of different lengths, no numbers; in words that follow the column.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count and (_is_list(array.type) or not fill_nan):
        message = f"has {array.null_count} null rows{where}"
        raise RowsError(message, code=FaultCode.NOT_NUMBERS, got=array.null_count, expected=0)
    shape: tuple[int, ...] = (len(array),)
    while _is_list(array.type):
        width = _list_width(array, where)
        shape, array = (shape[0], prod(shape[1:]) * width), array.flatten()
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)):
        message = f"holds {array.type}{where}, not numbers"
        raise RowsError(message, code=FaultCode.NOT_NUMBERS, got=str(array.type), expected="numbers")
    if array.null_count and not fill_nan:
        message = f"has {array.null_count} null values{where}"
        raise RowsError(message, code=FaultCode.NOT_NUMBERS, got=array.null_count, expected=0)
    return _to_flat(array).reshape(shape)


def _list_width(array: pa.Array, where: str) -> int:
    """Values in each list; 0 without lists."""
    if pa.types.is_fixed_size_list(array.type) and not array.null_count:
        return int(array.type.list_size) if len(array) else 0
    lengths = pc.unique(pc.list_value_length(array)).to_pylist()
    if None in lengths:
        raise RowsError(f"has null rows within its lists{where}", code=FaultCode.NOT_NUMBERS)
    if len(lengths) > 1:
        named = join_names([str(length) for length in sorted(lengths)])
        raise RowsError(f"has rows of [{named}] values{where}", code=FaultCode.WIDTH, got=sorted(lengths))
    return lengths[0] if lengths else 0


def _to_flat(array: pa.Array) -> NDArray[Any]:
    """Plain values as (N,), NaN where they are missing."""
    if is_truth := pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if not array.null_count:
        values: NDArray[Any] = np.from_dlpack(array)
        return values.view(np.bool_) if is_truth else values
    array = array if pa.types.is_floating(array.type) else array.cast(pa.float64(), safe=False)
    stored = pa.Array.from_buffers(array.type, len(array), [None, array.buffers()[1]], offset=array.offset)
    values = np.from_dlpack(stored).copy()
    values[np.from_dlpack(array.is_null().cast(pa.uint8())).astype(bool)] = np.nan
    return values


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


@dataclass(frozen=True)
class EpisodeRows:
    """An output episode's rows; T frames.

    state (T, D) float32, action (T, D') float32, task_index (T,) int64; first_index: the global index
    of its first frame. others: more columns, (T,) or (T, D'') of numbers or truth values; texts: of texts, T each.
    """

    episode_index: int
    first_index: int
    timestamp: NDArray[np.float32]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    task_index: NDArray[np.int64]
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    texts: Mapping[str, pa.Array] = field(default_factory=dict)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of numbers by name, in the order of the file, whose last columns are the texts."""
        frames = np.arange(len(self.state), dtype=np.int64)
        return {
            STATE: self.state,
            ACTION: self.action,
            "timestamp": self.timestamp,
            "frame_index": frames,
            "episode_index": np.full(len(frames), self.episode_index, dtype=np.int64),
            "index": frames + self.first_index,
            "task_index": self.task_index,
            **self.others,
        }


def write_rows(path: Path, rows: EpisodeRows) -> None:
    """Write the columns as parquet; vectors as fixed-size lists of float32."""
    arrays = {name: to_arrow(values) for name, values in rows.columns().items()} | dict(rows.texts)
    with name_file_in_errors(path):
        pq.write_table(pa.table(arrays), path)


def to_arrow(values: NDArray[Any]) -> pa.Array:
    """(T,) or (T, D) numbers without a copy, and without pandas, which pa.array imports."""
    kind = pa.from_numpy_dtype(values.dtype)
    stored = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    flat = pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(stored)])
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
