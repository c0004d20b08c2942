"""A parquet file's footer, checked: its C++ reader ends the process at some numbers, and takes memory for others.

Field numbers are those of parquet.thrift (apache/parquet-format, 2.11).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from millrace.engine.sources.thrift import BINARY, I32, I64, LIST, STRUCT, CompactReader, Malformed

MAGIC = b"PAR1"
# A million episodes take ten thousand files; of one file, a row group an episode takes some kilobytes.
MAX_BYTES = 64 << 20
# Read at once, as most footers are smaller and each read of a remote file is a request.
TAIL_BYTES = 1 << 16
MAX_CHUNKS = 1 << 18
MAX_LEAVES = 1 << 16
MAX_DEPTH = 16
# Two months at 50 Hz in one file. Rows that are all alike take no room in it, but time to be counted through.
MAX_ROWS = 1 << 28
MAX_VALUES = 1 << 40
BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
WIDTHS = {BOOLEAN: 1, INT32: 4, INT64: 8, INT96: 12, FLOAT: 4, DOUBLE: 8}
MAX_WIDTH = 1 << 20
NUM_CODECS = 8


@dataclass(frozen=True)
class Leaf:
    """A column of plain values. path: its names from the outermost on. width: bytes a value, None for byte arrays."""

    path: tuple[bytes, ...]
    kind: int
    width: int | None


@dataclass(frozen=True)
class Chunk:
    """The values of one leaf in one row group: bytes [start, stop) of the file.

    codec, encodings: numbers of its compression, and of how its pages may be written.
    """

    leaf: Leaf
    codec: int
    encodings: frozenset[int]
    num_values: int
    start: int
    stop: int


@dataclass(frozen=True)
class RowGroup:
    """Rows that are stored together, a chunk for each leaf."""

    num_rows: int
    chunks: Sequence[Chunk]


@dataclass(frozen=True)
class Footer:
    """What a file says of itself. num_rows: of the file; the row groups may give another sum."""

    num_rows: int
    leaves: Sequence[Leaf]
    groups: Sequence[RowGroup]


def read_num_rows(file: BinaryIO) -> int:
    """Rows of a file as its footer says, which is not checked any further.

    Raises:
        Malformed: it is no parquet, or cut short.
    """
    content, _ = _content(file)
    reader = CompactReader(content)
    for number, kind in reader.read_fields():
        if number == 3:
            return read_bounded(reader, kind, I64, MAX_ROWS)
        reader.skip(kind)
    raise Malformed("the footer does not say how many rows there are")


def read_footer(file: BinaryIO) -> Footer:
    """A file's footer, whose numbers fit each other and the file.

    Raises:
        Malformed: it is no parquet, or cut short, or one of them does not.
    """
    content, end = _content(file)
    reader = CompactReader(content)
    num_rows: int | None = None
    leaves: list[Leaf] = []
    groups: list[RowGroup] = []
    for number, kind in read_fields_once(reader):
        if number == 2:
            leaves = _leaves(reader, kind)
        elif number == 3:
            num_rows = read_bounded(reader, kind, I64, MAX_ROWS)
        elif number == 4:
            groups = list(_groups(reader, kind, leaves, end))
        elif number in (8, 9):
            raise Malformed("it is encrypted")
        else:
            reader.skip(kind)
    if num_rows is None:
        raise Malformed("the footer does not say how many rows there are")
    if sum(group.num_rows for group in groups) > MAX_ROWS:
        raise Malformed(f"the row groups claim more than {MAX_ROWS} rows")
    return Footer(num_rows, leaves, groups)


def _content(file: BinaryIO) -> tuple[bytes, int]:
    """The footer's bytes, and where they begin."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - TAIL_BYTES, 0))
    tail = file.read(TAIL_BYTES)
    length = int.from_bytes(tail[-8:-4], "little")
    if len(tail) < 8 or tail[-4:] != MAGIC:
        raise Malformed("it does not end as parquet does")
    if length > min(size - 12, MAX_BYTES):
        raise Malformed(f"the footer claims {length} of the file's {size} bytes")
    end = size - 8 - length
    if length + 8 > len(tail):
        file.seek(end)
        return file.read(length), end
    return tail[-8 - length : -8], end


def read_fields_once(reader: CompactReader) -> Iterator[tuple[int, int]]:
    """Read a struct's fields, none of them twice: which of two counts is for each reader to choose."""
    seen: set[int] = set()
    for number, kind in reader.read_fields():
        if number in seen:
            raise Malformed(f"field {number} is there twice")
        seen.add(number)
        yield number, kind


def read_bounded(reader: CompactReader, kind: int, expected: int, limit: int) -> int:
    """Read a count, a size or a place, 0 to limit."""
    _want(kind, expected)
    value = reader.read_integer()
    if not 0 <= value <= limit:
        raise Malformed(f"a number is {value}, expected 0 to {limit}")
    return value


def _want(kind: int, expected: int) -> None:
    if kind != expected:
        raise Malformed(f"a value is of kind {kind}, expected {expected}")


def _structs(reader: CompactReader, kind: int, limit: int) -> range:
    """As many as there are structs in the list that follows."""
    _want(kind, LIST)
    inner, count = reader.read_items()
    if count:
        _want(inner, STRUCT)
    if count > limit:
        raise Malformed(f"a list has {count} items, expected at most {limit}")
    return range(count)


@dataclass(frozen=True)
class _Element:
    """A node of the schema, which is written depth first."""

    name: bytes
    kind: int | None
    width: int
    num_children: int


def _leaves(reader: CompactReader, kind: int) -> list[Leaf]:
    elements = [_element(reader) for _ in _structs(reader, kind, MAX_LEAVES)]
    if not elements or elements[0].kind is not None:
        raise Malformed("the schema has no root")
    leaves: list[Leaf] = []
    waiting: list[tuple[tuple[bytes, ...], int]] = [((), elements[0].num_children)]  # the open groups
    for element in elements[1:]:
        while waiting and waiting[-1][1] == 0:
            waiting.pop()
        if not waiting or len(waiting) > MAX_DEPTH:
            raise Malformed("the schema's groups contradict each other, or lie too deep")
        above, num_left = waiting.pop()
        waiting.append((above, num_left - 1))
        path = (*above, element.name)
        if element.kind is None:
            waiting.append((path, element.num_children))
        else:
            leaves.append(Leaf(path, element.kind, WIDTHS.get(element.kind, element.width or None)))
    if any(num_left for _, num_left in waiting):
        raise Malformed("the schema's groups contradict each other")
    return leaves


def _element(reader: CompactReader) -> _Element:
    name, physical, width, num_children = b"", None, 0, 0
    for number, kind in read_fields_once(reader):
        if number == 1:
            physical = read_bounded(reader, kind, I32, FIXED)
        elif number == 2:
            width = read_bounded(reader, kind, I32, MAX_WIDTH)
        elif number == 4:
            _want(kind, BINARY)
            name = reader.read_text()
        elif number == 5:
            num_children = read_bounded(reader, kind, I32, MAX_LEAVES)
        else:
            reader.skip(kind)
    if physical is not None and num_children:
        raise Malformed("a column of plain values has columns within")
    if physical == FIXED and not width:
        raise Malformed("a column of fixed width has none")
    return _Element(name, physical, width if physical == FIXED else 0, num_children)


def _groups(reader: CompactReader, kind: int, leaves: Sequence[Leaf], end: int) -> Iterator[RowGroup]:
    for _ in _structs(reader, kind, MAX_CHUNKS // max(len(leaves), 1)):
        num_rows: int | None = None
        chunks: list[Chunk] | None = None
        for number, inner in read_fields_once(reader):
            if number == 1:
                chunks = _chunks(reader, inner, leaves, end)
            elif number == 3:
                num_rows = read_bounded(reader, inner, I64, MAX_ROWS)
            else:
                reader.skip(inner)
        if num_rows is None or chunks is None:
            raise Malformed("a row group lacks its columns or the number of its rows")
        yield RowGroup(num_rows, chunks)


def _chunks(reader: CompactReader, kind: int, leaves: Sequence[Leaf], end: int) -> list[Chunk]:
    count = _structs(reader, kind, MAX_CHUNKS)
    if len(count) != len(leaves):
        raise Malformed(f"a row group has {len(count)} columns, the schema {len(leaves)}")
    return [_chunk(reader, leaf, end) for leaf in leaves]


def _chunk(reader: CompactReader, leaf: Leaf, end: int) -> Chunk:
    chunk: Chunk | None = None
    for number, kind in read_fields_once(reader):
        if number == 3:
            _want(kind, STRUCT)
            chunk = _metadata(reader, leaf, end)
        elif number in (1, 8, 9):
            raise Malformed("a column lies in another file, or is encrypted")
        else:
            reader.skip(kind)
    if chunk is None:
        raise Malformed("a column lacks its metadata")
    return chunk


def _metadata(reader: CompactReader, leaf: Leaf, end: int) -> Chunk:
    """A column's size and place; end: of all columns in the file."""
    found: dict[int, int] = {}
    encodings: frozenset[int] = frozenset()
    for number, kind in read_fields_once(reader):
        if number in _LIMITS:
            expected, limit = _LIMITS[number]
            found[number] = read_bounded(reader, kind, expected, end if limit is None else limit)
        elif number == 2:
            _want(kind, LIST)
            inner, count = reader.read_items()
            encodings = frozenset(read_bounded(reader, inner, I32, MAX_WIDTH) for _ in range(count))
        else:
            reader.skip(kind)
    if not found.keys() >= _NEEDED or found[1] != leaf.kind:
        raise Malformed("a column's metadata lacks something, or is another's")
    # Some writers put 0 for: there is no dictionary.
    start = min(found[9], found.get(11) or found[9])
    if found[9] < len(MAGIC) or start < len(MAGIC) or start + found[7] > end:
        raise Malformed(f"a column claims bytes {start} to {start + found[7]}, the columns end at {end}")
    return Chunk(leaf, found[4], encodings, found[5], start, start + found[7])


# Of ColumnMetaData, kind and limit, None for the file's size: type, codec, num_values, sizes, offsets.
_LIMITS: dict[int, tuple[int, int | None]] = {
    1: (I32, FIXED),
    4: (I32, NUM_CODECS - 1),
    5: (I64, MAX_VALUES),
    6: (I64, MAX_VALUES),
    7: (I64, None),
    9: (I64, None),
    11: (I64, None),
}
_NEEDED = {1, 4, 5, 6, 7, 9}
