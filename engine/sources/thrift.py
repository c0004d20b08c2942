"""Thrift's compact protocol, which parquet's footers and page headers are written in, read within bounds.

Nothing is allocated for a length or count that the data merely claims.
"""

from collections.abc import Iterator

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
# Parquet nests six deep.
MAX_DEPTH = 24
MAX_STRUCTS = 1 << 21


class Malformed(ValueError):
    """Bytes that are no thrift, or claim more than there is."""


class CompactReader:
    """Reads values one after the other.

    Args:
        data: What holds them.
        position: Where the first begins.

    Raises:
        Malformed: each method, where the data ends early or contradicts itself.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data, self.position, self._num_structs = data, position, 0

    def read_fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each field of a struct; each must be read or skipped before the next."""
        self._count_struct()
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self.read_integer()
            yield number, head & 15

    def read_items(self) -> tuple[int, int]:
        """Read kind and number of a list's items, which follow."""
        head = self._byte()
        count = head >> 4
        if count == 15:
            count = self._varint()
        if count > len(self._data) - self.position:  # each takes a byte or more
            raise Malformed(f"a list claims {count} items")
        return head & 15, count

    def read_integer(self) -> int:
        """Read a whole number of 16, 32 or 64 bits."""
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def read_text(self) -> bytes:
        """Read bytes with their length."""
        length = self._varint()
        start = self.position
        self._move(length)
        return self._data[start : self.position]

    def skip(self, kind: int, depth: int = 0) -> None:
        """Skip a value."""
        if depth > MAX_DEPTH:
            raise Malformed("values are nested too deep")
        if kind in (I16, I32, I64):
            self._varint()
        elif kind == BINARY:
            self._move(self._varint())
        elif kind == STRUCT:
            for _, inner in self.read_fields():
                self.skip(inner, depth + 1)
        elif kind in (LIST, SET):
            self._skip_items(*self.read_items(), depth)
        elif kind in (BYTE, DOUBLE):
            self._move(1 if kind == BYTE else 8)
        elif kind not in (TRUE, FALSE):
            raise Malformed(f"a value is of the unknown kind {kind}")

    def _skip_items(self, kind: int, count: int, depth: int) -> None:
        if kind in (TRUE, FALSE, BYTE):
            self._move(count)
            return
        for _ in range(count):
            self.skip(kind, depth + 1)

    def _count_struct(self) -> None:
        self._num_structs += 1
        if self._num_structs > MAX_STRUCTS:
            raise Malformed(f"there are more than {MAX_STRUCTS} structs")

    def _byte(self) -> int:
        position = self.position
        if position >= len(self._data):
            raise Malformed("a value goes on after the end")
        self.position = position + 1
        return self._data[position]

    def _varint(self) -> int:
        value = self._byte()
        if value < 128:
            return value
        value &= 127
        for shift in range(7, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise Malformed("a number has more than 64 bits")

    def _move(self, length: int) -> None:
        if length > len(self._data) - self.position:
            raise Malformed(f"a value claims {length} bytes")
        self.position += length
