"""The bicubic resize of 8-bit images that Pillow does, and the one that torch does on a CPU, bit for bit anywhere.

    resize_bicubic(images, (252, 252))      # (N, H, W, 3) uint8 -> (N, 3, 252, 252)

A pixel is a weighted sum of its neighbours, first along rows, then along columns, rounded to 8 bits after each. Pillow
rounds the weights to multiples of 2**-22, torch as finely as 16 bits allow, so that sums are of integers and stay below
2**31: exact, whatever computes them. Enlarging takes four neighbours; reducing by a factor takes as many times more.

Source: "Image.Resampling.BICUBIC" in Pillow's documentation and src/libImaging/Resample.c, Pillow 12.3. Pillow 13 goes
along columns first for some sizes, and so rounds to other values; for squares it does not. Torch:
aten/src/ATen/native/cpu/UpSampleKernel.cpp, 2.7, `interpolate` of uint8 with antialias.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

WEIGHT_BITS = 22
REACH = 2.0  # of the cubic filter, in pixels of the coarser image
SHORT = 1 << 15  # torch keeps weights below it


def resize_bicubic(
    images: Tensor, size: tuple[int, int], *, columns_first: bool = False, short_weights: bool = False
) -> Tensor:
    """Resize as PIL.Image.resize(..., BICUBIC) does.

    Args:
        images: (N, H, W, C) uint8.
        size: Height and width of the result.
        columns_first: Not along rows first.
        short_weights: Weights of 16 bits, as torch's.

    Returns:
        (N, C, *size) int32, each value in [0, 255]; not contiguous.
    """
    if columns_first:
        turned = resize_bicubic(images.transpose(1, 2), (size[1], size[0]), short_weights=short_weights)
        return turned.transpose(2, 3)
    by_column = _resample(images.permute(2, 0, 1, 3), size[1], short_weights)
    by_row = _resample(by_column.permute(2, 1, 3, 0), size[0], short_weights)
    return by_row.permute(1, 2, 0, 3)


def _resample(lines: Tensor, num_lines: int, short_weights: bool) -> Tensor:
    """Weighted sums along the first axis, in 8 bits; nothing where the number is right already, as in Pillow."""
    values = lines.to(torch.int32)
    if len(lines) == num_lines:
        return values
    indices, weights, bits = _taps(len(lines), num_lines, short_weights, lines.device)
    flat = values.reshape(len(lines), -1)
    sums = torch.full((num_lines, flat.shape[1]), 1 << (bits - 1), dtype=torch.int32, device=lines.device)
    for index, weight in zip(indices, weights, strict=True):
        sums.addcmul_(flat.index_select(0, index), weight[:, None])
    return sums.bitwise_right_shift_(bits).clamp_(0, 255).view(num_lines, *lines.shape[1:])


@lru_cache(maxsize=64)
def _taps(num_from: int, num_to: int, short_weights: bool, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """For each tap the line that it reads, int64, and its weight, int32, both (num_taps, num_to); bits of a weight."""
    indices, weights, bits = bicubic_taps(num_from, num_to, short_weights=short_weights)
    return torch.from_numpy(indices).to(device), torch.from_numpy(weights).to(device), bits


def bicubic_taps(num_from: int, num_to: int, *, short_weights: bool = False) -> tuple[np.ndarray, np.ndarray, int]:
    """The taps of each of `num_to` lines among `num_from`.

    Returns:
        Indices into [0, num_from), int64, and weights in units of 2**-bits, int32, both (num_taps, num_to); and bits. A
        line that has fewer taps gets weights of 0.
    """
    step = num_from / num_to
    coarseness = max(step, 1.0)
    reach = REACH * coarseness
    centres = (np.arange(num_to) + 0.5) * step
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centres + reach + 0.5).astype(np.int64), num_from)
    weights = np.zeros((math.ceil(reach) * 2 + 1, num_to))
    for tap, row in enumerate(weights):
        distances = (first + tap - centres + 0.5) * (1.0 / coarseness)
        row[:] = np.where(first + tap < stop, _cubic(np.abs(distances)), 0.0)
    # Added up one after another, as Pillow does: another order would round differently.
    weights /= np.add.accumulate(weights)[-1]
    bits = _short_bits(weights.max()) if short_weights else WEIGHT_BITS
    whole = np.trunc(weights * (1 << bits) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    num_taps = int((stop - first).max())
    indices = np.minimum(first + np.arange(num_taps)[:, None], num_from - 1)
    return indices, whole[:num_taps], bits


def _short_bits(largest: float) -> int:
    """As many bits as leave the largest weight below 2**15."""
    return next((bits for bits in range(WEIGHT_BITS) if int(0.5 + largest * (2 << bits)) >= SHORT), WEIGHT_BITS)


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = -0.5 (Keys 1981), of distances that are not negative."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < REACH, far, 0.0))
