"""The width and height of frames."""

from fractions import Fraction
from typing import NamedTuple

# Of a side of the output's frames, in pixels.
MIN_SIDE, MAX_SIDE = 16, 4096


class FrameSize(NamedTuple):
    """Width and height of frames, in pixels; written as "320x180"."""

    width: int
    height: int

    @classmethod
    def square(cls, side: int) -> "FrameSize":
        """As wide as high."""
        return cls(side, side)

    @property
    def is_square(self) -> bool:
        """Whether it is as wide as high."""
        return self.width == self.height

    @property
    def is_even(self) -> bool:
        """Whether 4:2:0 can keep it: one chroma pixel stands for two by two."""
        return self.width % 2 == self.height % 2 == 0

    def scale_to(self, longer_side: int) -> "FrameSize":
        """The even size nearest to the same aspect whose longer side is so long.

        640x480 to 256: 256x192; 848x480 to 256: 256x144, where 144.9 would be exact.
        """
        shorter = nearest_even(Fraction(min(self) * longer_side, max(self)))
        sides = longer_side, max(2, shorter)
        return FrameSize(*(sides if self.width >= self.height else reversed(sides)))

    def has_aspect_of(self, width: Fraction, height: Fraction) -> bool:
        """Whether frames of this size can show a whole frame of width by height: its aspect, to a pixel."""
        misses = self.height - height * self.width / width, self.width - width * self.height / height
        return min(map(abs, misses)) <= 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def nearest_even(length: Fraction) -> int:
    """The even number nearest to a length; of two, the one that is a multiple of 4."""
    return 2 * round(length / 2)
