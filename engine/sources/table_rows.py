"""Rows in which each joint may have a column of its own, in a parquet or a CSV file."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from millrace.embodiments import Remedy
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.sources.damage import TooLarge
from millrace.engine.sources.episode import Rows
from millrace.engine.sources.parquet_rows import ParquetRows

# In memory a number takes up to four times its bytes; an hour at 50 Hz of 28 joints takes 50 MB.
MAX_CSV_BYTES = 64 << 20
MAX_HEADER_BYTES, MAX_COLUMNS = 1 << 20, 4096


@dataclass(frozen=True)
class VectorRows:
    """Opens a file of rows; vectors: name of each vector, and the columns of its values."""

    vectors: tuple[tuple[str, tuple[str, ...]], ...]

    def __call__(self, path: Path) -> Rows:
        """Open a file, CSV by its suffix, else parquet."""
        vectors = dict(self.vectors)
        numbers = [column for columns in vectors.values() for column in columns]
        return _JoinedRows(CsvRows(path, numbers) if path.suffix == ".csv" else ParquetRows(path), vectors, path)


class CsvRows:
    """The rows of a CSV file with a header, all in memory; empty fields are missing values.

    Args:
        path: The file.
        numbers: Columns that hold numbers, whatever the first of them look like.

    Raises:
        TooLarge, OSError, pa.ArrowException: it is larger than MAX_CSV_BYTES, or no CSV file.
    """

    def __init__(self, path: Path, numbers: list[str]) -> None:
        if (num_bytes := path.stat().st_size) > MAX_CSV_BYTES:
            problem = f"it has {num_bytes} bytes, at most {MAX_CSV_BYTES} are read: "
            raise TooLarge(problem, Remedy("write it as rows.parquet"), got=num_bytes, expected=MAX_CSV_BYTES)
        with path.open("rb") as file:
            lines = iter(partial(file.readline, MAX_HEADER_BYTES), b"")
            header = next((line for line in lines if line.strip()), b"")  # empty lines are skipped by Arrow, too
            if header.count(b",") >= MAX_COLUMNS:
                advice = Remedy("write those of numbers as rows.parquet")
                raise TooLarge(f"it has more than {MAX_COLUMNS} columns: ", advice, expected=MAX_COLUMNS)
        self._table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(use_threads=False),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.float64()), null_values=[""], strings_can_be_null=True
            ),
        )
        self.names = list(self._table.column_names)
        self.num_rows = len(self._table)

    def close(self) -> None:
        """Nothing is open."""

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        """Those columns of rows [start, stop)."""
        return self._table.select(list(columns)).slice(start, stop - start)


class _JoinedRows:
    """Rows with vectors in place of the columns of their values."""

    def __init__(self, rows: Rows, vectors: dict[str, tuple[str, ...]], path: Path) -> None:
        self._rows, self._vectors, self._path = rows, vectors, path
        self.names = [*(name for name in rows.names if name not in vectors), *vectors]
        self.num_rows = rows.num_rows

    def close(self) -> None:
        self._rows.close()

    def read(self, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        parts = {name: self._vectors.get(name, (name,)) for name in columns}
        needed = tuple(dict.fromkeys(part for names in parts.values() for part in names))
        missing = [name for name in needed if self._rows.names.count(name) != 1]
        if missing:
            named, known = ", ".join(map(repr, missing)), self._rows.names
            message = f"{self._path} has no column {named}. Known: {', '.join(known)}"
            raise RowsError(message, code=FaultCode.MISSING, file=self._path, got=missing, known=tuple(known))
        table = self._rows.read(start, stop, needed)
        arrays = [self._join(table, parts[name]) if name in self._vectors else table[name] for name in columns]
        return pa.table(arrays, names=list(columns))

    def _join(self, table: pa.Table, names: tuple[str, ...]) -> pa.Array:
        """Columns of numbers as one column of lists, row by row."""
        for name in names:
            kind = table.schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                message = f"column '{name}' of {self._path} holds {kind}, not numbers"
                raise RowsError(message, code=FaultCode.NOT_NUMBERS, file=self._path, got=str(kind), expected="numbers")
        chunks = [chunk.cast(pa.float64()) for name in names for chunk in table[name].chunks]
        flat = pa.concat_arrays(chunks) if chunks else pa.array([], pa.float64())
        order = np.arange(len(flat)).reshape(len(names), -1).T.ravel()
        return pa.FixedSizeListArray.from_arrays(flat.take(pa.array(order)), len(names))
