"""Damage to the numbers of a parquet footer, which stays a footer."""

import random
from dataclasses import dataclass
from pathlib import Path

from fuzzing.changes import Change

NUMBERS = (0, 1, 2, 3, -1, 7, 100, 1000, 2**15, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**31), -(2**63))
COUNTS = (0, 1, 2, 100, 2**31 - 1, 2**32 - 1)
I16, I64, BINARY, LIST, SET, STRUCT = 4, 6, 8, 9, 10, 12
WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # of booleans in fields, bytes, doubles


@dataclass(frozen=True)
class FooterChange(Change):
    """A number, a length or a count of a parquet footer that is another."""

    seed: int

    def apply(self, root: Path) -> None:
        """Which number, and what it becomes, is chosen by the seed."""
        file = root / self.path
        file.write_bytes(change_footer(file.read_bytes(), random.Random(self.seed)))


def change_footer(content: bytes, chance: random.Random) -> bytes:
    """A parquet file with another number in its footer, whose length follows."""
    length = int.from_bytes(content[-8:-4], "little")
    body, footer = content[: -8 - length], content[-8 - length : -8]
    places: list[tuple[int, int, int]] = []
    _find(footer, 0, STRUCT, places)
    numbers = [place for place in places if place[2] <= I64]
    start, stop, kind = chance.choice(numbers if chance.random() < 0.85 else places)
    changed = footer[:start] + _other(kind, chance) + footer[stop:]
    return body + changed + len(changed).to_bytes(4, "little") + b"PAR1"


def _other(kind: int, chance: random.Random) -> bytes:
    if kind <= I64:
        number = chance.choice(NUMBERS) if chance.random() < 0.8 else chance.getrandbits(20)
        return _varint(((number << 1) ^ (number >> 63)) % 2**64)
    return _varint(chance.choice(COUNTS))


def _varint(number: int) -> bytes:
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place


def _find(data: bytes, place: int, kind: int, found: list[tuple[int, int, int]]) -> int:
    """Every number (kind up to I64), length (BINARY) and count (LIST) of a value in thrift's compact protocol.

    Returns:
        Where the value ends.
    """
    if I16 <= kind <= I64 or kind == BINARY:
        value, stop = _read_varint(data, place)
        found.append((place, stop, kind))
        return stop + value if kind == BINARY else stop
    if kind in (LIST, SET):
        return _find_in_list(data, place, found)
    if kind == STRUCT:
        while head := data[place]:
            place = place + 1 if head >> 4 else _read_varint(data, place + 1)[1]
            place = _find(data, place, head & 15, found)
        return place + 1
    return place + WIDTHS[kind]


def _find_in_list(data: bytes, place: int, found: list[tuple[int, int, int]]) -> int:
    inner, count = data[place] & 15, data[place] >> 4
    place += 1
    if count == 15:
        count, stop = _read_varint(data, place)
        found.append((place, stop, LIST))
        place = stop
    for _ in range(count):
        place = place + 1 if inner in (1, 2) else _find(data, place, inner, found)
    return place
