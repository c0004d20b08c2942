"""The mean of the source's pixels under each target pixel, in exact arithmetic: the same bytes on every device.

A target pixel covers parts of source pixels, each a multiple of the same fraction. Counted in that fraction, weights
and pixels are integers, and so is each sum; floating point holds them exactly below a bound, in whatever order they
are added. Only the division at the end rounds, half up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd

import torch
from torch import Tensor

MAX_LEVEL = 255
# Integers that floating point holds without gaps.
EXACT_FLOAT32, EXACT_FLOAT64 = 2**24, 2**53


class AreaResize:
    """Planes (..., height, width) uint8 to (..., to_height, to_width), on the device where they lie.

    Sizes have common divisors, so weights repeat: each axis is a product with one small matrix, block by block.

    Raises:
        ValueError: the target is larger than the source, where there is no mean to take.
    """

    def __init__(self, size: tuple[int, int], to_size: tuple[int, int], *, device: str = "cpu") -> None:
        if to_size[0] > size[0] or to_size[1] > size[1]:
            raise ValueError(f"an area mean makes pictures smaller, not {size} to {to_size}")
        rows, columns = (area_weights(*sizes) for sizes in zip(size, to_size, strict=True))
        self.size, self.to_size = size, to_size
        self.total = rows.shape[1] * columns.shape[1]
        largest = MAX_LEVEL * self.total
        assert largest < EXACT_FLOAT64, "a picture has fewer pixels than that"
        self._float = torch.float32 if largest < EXACT_FLOAT32 else torch.float64
        self._rows = rows.to(device, self._float)
        self._columns = columns.T.contiguous().to(device, self._float)

    def __call__(self, planes: Tensor) -> Tensor:
        """Resize; one plane or many."""
        outer, (to_height, to_width) = planes.shape[:-2], self.to_size
        assert planes.shape[-2:] == self.size, f"planes of {tuple(planes.shape)} are not of {self.size}"
        with _exact_products():
            by_column = planes.to(self._float).reshape(*outer, self.size[0], -1, len(self._columns)) @ self._columns
            by_row = self._rows @ by_column.reshape(*outer, -1, self._rows.shape[1], to_width)
        # Means are multiples of 1 / total. A quarter of that keeps them off the border, so that no inexact last bit
        # carries one over it; the cast cuts the rest off.
        means = by_row.reshape(*outer, to_height, to_width).double() / self.total
        return (means + (0.5 + 0.25 / self.total)).to(torch.uint8)


def area_weights(size: int, to_size: int) -> Tensor:
    """How much each target pixel covers of each source pixel, in the common fraction; until the pattern repeats.

    Returns:
        (to_size / g, size / g) int64, g the greatest common divisor; rows sum to size / g.
    """
    divisor = gcd(size, to_size)
    source, target = size // divisor, to_size // divisor
    # A source pixel is `target` fractions wide, and a target pixel `source`.
    source_starts = torch.arange(source) * target
    target_starts = torch.arange(target)[:, None] * source
    starts = torch.maximum(source_starts, target_starts)
    stops = torch.minimum(source_starts + target, target_starts + source)
    return (stops - starts).clamp(min=0)


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of all 24 bits: TF32 and bfloat16 would round the integers."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
