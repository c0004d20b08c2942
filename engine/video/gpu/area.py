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
# Up to here float32 divides by the total without an error that could carry a mean over a border: two roundings of
# 255.75, by half of 2**-16 each at most, are less than a quarter of 1 / total.
MAX_FLOAT32_TOTAL = 2**13
# Columns that a product on a CPU makes at once: a vector of float32.
VECTOR_COLUMNS = 16
# Pixels that a CPU takes at once, so that what is made of them stays in its caches, and in memory that malloc keeps.
SLICE_PIXELS = 1 << 18


class AreaResize:
    """Planes (..., height, width) uint8 to (..., to_height, to_width), on the device where they lie.

    Sizes have common divisors, so weights repeat: each axis is a product with one small matrix, block by block.

    Raises:
        ValueError: the target is larger than the source, where there is no mean to take.
    """

    def __init__(self, size: tuple[int, int], to_size: tuple[int, int], *, device: str = "cpu") -> None:
        if to_size[0] > size[0] or to_size[1] > size[1]:
            raise ValueError(f"an area mean makes images smaller, not {size} to {to_size}")
        rows, columns = (area_weights(*sizes) for sizes in zip(size, to_size, strict=True))
        self.size, self.to_size = size, to_size
        self.total = rows.shape[1] * columns.shape[1]
        largest = MAX_LEVEL * self.total
        assert largest < EXACT_FLOAT64, "a picture has fewer pixels than that"
        self._float = torch.float32 if largest < EXACT_FLOAT32 else torch.float64
        self._quotient = torch.float32 if self.total <= MAX_FLOAT32_TOTAL else torch.float64
        self._rows = rows.to(device, self._float)
        several = _repeated(columns, most=gcd(size[1], to_size[1]))
        self._columns = several.T.contiguous().to(device, self._float)

    def __call__(self, planes: Tensor) -> Tensor:
        """Resize; one plane or many."""
        assert planes.shape[-2:] == self.size, f"planes of {tuple(planes.shape)} are not of {self.size}"
        flat = planes.reshape(-1, *self.size)
        num_at_once = max(1, SLICE_PIXELS // (self.size[0] * self.size[1])) if flat.device.type == "cpu" else len(flat)
        small = torch.empty((len(flat), *self.to_size), dtype=torch.uint8, device=flat.device)
        with _exact_products():
            for some, made in zip(flat.split(num_at_once), small.split(num_at_once), strict=True):
                made.copy_(self._means(some))
        return small.reshape(*planes.shape[:-2], *self.to_size)

    def _means(self, planes: Tensor) -> Tensor:
        """(n, height, width) to (n, to_height, to_width); rows first, as fewer of them are left for the columns."""
        num_planes, width, (to_height, to_width) = len(planes), self.size[1], self.to_size
        by_row = self._rows @ planes.to(self._float).reshape(num_planes, -1, self._rows.shape[1], width)
        sums = by_row.reshape(num_planes, to_height, -1, len(self._columns)) @ self._columns
        means = sums.reshape(num_planes, to_height, to_width).to(self._quotient)
        # Means are multiples of 1 / total. A quarter of that keeps them off the border, so that no inexact last bit
        # carries one over it; the cast cuts the rest off.
        return means.add_(0.5 * self.total + 0.25).div_(self.total).to(torch.uint8)


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


def _repeated(weights: Tensor, *, most: int) -> Tensor:
    """The weights of several repetitions: the fewest that fill a vector, of those that divide all there are."""
    fitting = (num for num in range(1, most) if most % num == 0 and num * len(weights) >= VECTOR_COLUMNS)
    return torch.block_diag(*[weights] * next(fitting, most))


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
