"""Read the boxes that an mp4 is made of, and the display matrices that turn its frames."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# ISO/IEC 14496-12: boxes that only hold others.
CONTAINERS = ("moov", "moov/trak", "moov/trak/mdia")
TRACK_HEADER = "moov/trak/tkhd"
# Of a matrix of three rows a b u, c d v, x y w: what turns and mirrors. 16.16 fixed point.
UPRIGHT = (1 << 16, 0, 0, 1 << 16)
# A file may claim any number of them.
MAX_BOXES = 10_000

Turn = tuple[int, int, int, int]


@dataclass(frozen=True)
class Boxes:
    """The boxes of an mp4. names: paths such as "moov/trak/tkhd". turns: a, b, c, d of each track's display matrix."""

    names: frozenset[str]
    turns: tuple[Turn, ...]

    @property
    def is_upright(self) -> bool:
        """Whether no display matrix turns or mirrors a track."""
        return all(turn == UPRIGHT for turn in self.turns)

    @property
    def is_on_its_side(self) -> bool:
        """Whether a track is turned by a quarter, so that width becomes height."""
        return any(a == 0 and d == 0 for a, _, _, d in self.turns)


def read_boxes(path: Path) -> Boxes:
    """Read the boxes of an mp4; of another file, whatever looks like boxes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        found = list(_walk_boxes(file, "", 0, path.stat().st_size, [MAX_BOXES]))
    return Boxes(frozenset(name for name, _ in found), tuple(turn for _, turn in found if turn is not None))


def _walk_boxes(
    file: IO[bytes], parent: str, start: int, stop: int, left: list[int]
) -> Iterator[tuple[str, Turn | None]]:
    place = start
    while place + 8 <= stop and left[0] > 0:
        left[0] -= 1
        file.seek(place)
        head = file.read(16)
        size, kind = struct.unpack(">I4s", head[:8])
        header = 8
        if size == 1 and len(head) == 16:  # a size of 64 bits follows
            size, header = struct.unpack(">Q", head[8:])[0], 16
        end = stop if size == 0 else min(place + size, stop)
        name = f"{parent}{kind.decode('latin-1')}"
        yield name, _read_turn(file, place + header) if name == TRACK_HEADER else None
        if name in CONTAINERS:
            yield from _walk_boxes(file, f"{name}/", place + header, end, left)
        if size != 0 and size < header:
            return
        place = end


def _read_turn(file: IO[bytes], place: int) -> Turn | None:
    """The matrix of a track header; its times take 32 bits each, or 64 in version 1."""
    file.seek(place)
    content = file.read(96)
    start = (4 + 20 if content[:1] != b"\x01" else 4 + 32) + 16
    if len(content) < start + 36:
        return None
    matrix = struct.unpack(">9i", content[start : start + 36])
    return matrix[0], matrix[1], matrix[3], matrix[4]
