"""Damage to a parquet file that stays one: other columns, types, values or rows."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuzzing.changes import Change


@dataclass(frozen=True)
class TableChange(Change):
    """A parquet file whose columns, types, values or rows are others."""

    column: int
    row: int
    how: str
    value: Any

    def apply(self, root: Path) -> None:
        """A change that the column's type forbids makes it a column of that one value."""
        table = pq.read_table(root / self.path)
        place = self.column % table.num_columns
        pq.write_table(_TABLE_CHANGES[self.how](table, place, self), root / self.path)


def _with_values(table: pa.Table, place: int, values: list[Any]) -> pa.Table:
    field = table.schema.field(place)
    try:
        array = pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError):
        array = pa.array([str(value).encode("utf-8", "replace") for value in values])
    return table.set_column(place, field.name, array)


def _edit_value(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    values = table.column(place).to_pylist()
    if values:
        row = change.row % len(values)
        is_list = isinstance(values[row], list) and values[row] and not isinstance(change.value, list)
        values[row] = [change.value, *values[row][1:]] if is_list else change.value
    return _with_values(table, place, values)


def _fill(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    return _with_values(table, place, [change.value] * len(table))


def _ragged(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    values = table.column(place).to_pylist()
    lengths = [(change.row + row) % 5 for row in range(len(values))]
    return table.set_column(place, table.column_names[place], pa.array([[0.5] * length for length in lengths]))


def _retype(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    kinds = (pa.int8(), pa.float16(), pa.float64(), pa.string(), pa.timestamp("us"), pa.decimal128(30, 3), pa.bool_())
    kinds += (pa.list_(pa.list_(pa.float32())), pa.dictionary(pa.int32(), pa.string()), pa.null(), pa.uint64())
    kind = kinds[change.row % len(kinds)]
    return table.set_column(place, table.column_names[place], pa.nulls(len(table), kind))


def _cast(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    kinds = (pa.int8(), pa.float16(), pa.float64(), pa.uint64(), pa.string(), pa.int32(), pa.large_string())
    column = table.column(place)
    try:
        column = column.cast(kinds[change.row % len(kinds)], safe=False)
    except pa.ArrowException:
        return table
    return table.set_column(place, table.column_names[place], column)


def _rename(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    names = list(table.column_names)
    names[place] = names[(place + 1) % len(names)] if change.row % 2 else str(change.value).replace("\ud800", "?")
    return table.rename_columns(names)


def _reorder(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    return table.take(pa.array([row * (change.row + 1) % len(table) for row in range(len(table))]))


def _lengthen(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    """Equal texts that take no room in the file."""
    return _with_values(table, place, ["x" * (1 << change.row % 21)] * len(table))


def _add_chunks(table: pa.Table, place: int, change: TableChange) -> pa.Table:
    """PNGs with texts that unpack to a thousand times their size; other columns stay as they are."""
    values = table.column(place).to_pylist()
    if not values or not isinstance(values[0], dict) or not isinstance(values[0].get("bytes"), bytes):
        return table
    content = b"text\0\0" + zlib.compress(bytes(1 << 20))
    kind = (b"zTXt", b"iCCP", b"iTXt")[change.row % 3]
    chunk = len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
    header = values[0]["bytes"][:33]
    values[0] = {**values[0], "bytes": header + chunk * (change.row % 500) + values[0]["bytes"][33:]}
    return _with_values(table, place, values)


_TABLE_CHANGES = {
    "value": _edit_value,
    "fill": _fill,
    "ragged": _ragged,
    "retype": _retype,
    "cast": _cast,
    "rename": _rename,
    "drop column": lambda table, place, change: table.remove_column(place),
    "repeat column": lambda table, place, change: table.append_column(table.column_names[place], table.column(place)),
    "cut rows": lambda table, place, change: table.slice(0, change.row % (len(table) + 1)),
    "repeat rows": lambda table, place, change: pa.concat_tables([table] * (2 + change.row % 50)),
    "reorder": _reorder,
    "lengthen": _lengthen,
    "add chunks": _add_chunks,
    "metadata": lambda table, place, change: table.replace_schema_metadata({"huggingface": "{", "pandas": "[]"}),
}
TABLE_CHANGES = tuple(_TABLE_CHANGES)
