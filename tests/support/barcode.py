"""A frame's number, episode and camera burnt into its pixels, and read back after coding, cropping and scaling.

The code is a grid of 8x8 light and dark cells over the middle of the picture's centre square: 20 bits frame,
14 bits episode, 6 bits camera, 16 bits checksum, and one row of known cells that sets the threshold.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_FRAME, MAX_EPISODE, MAX_CAMERA = 2**20 - 1, 2**14 - 1, 2**6 - 1
NO_EPISODE = MAX_EPISODE  # on frames that lie between episodes

_CELLS = 8
_GRID_SHARE = 7 / 8  # of the centre square's side: a rim of texture stays around the grid
_KNOWN_ROW = np.array([1, 0, 1, 1, 0, 0, 1, 0], bool)
_MIN_CONTRAST = 60.0
_LUMA_BT601 = np.array([0.299, 0.587, 0.114])


class BarcodeUnreadable(Exception):
    """The picture holds no intact barcode."""


@dataclass(frozen=True)
class Stamp:
    """What a picture says about itself."""

    frame: int
    episode: int = 0
    camera: int = 0

    def __post_init__(self) -> None:
        limits = {"frame": MAX_FRAME, "episode": MAX_EPISODE, "camera": MAX_CAMERA}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} {getattr(self, name)} is outside [0, {limit}]")


def draw(frame_number: int, episode: int = 0, camera: int = 0, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """A picture that carries its stamp over a moving coloured texture, (height, width, 3) uint8 RGB."""
    rows, columns = _cell_of_pixel(height, width, 0), _cell_of_pixel(height, width, 1)
    picture: NDArray[np.uint8] = _texture(height, width, frame_number, camera).copy()
    inside = picture[np.ix_(rows >= 0, columns >= 0)] // 4
    light = _cells(Stamp(frame_number, episode, camera))[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    picture[np.ix_(rows >= 0, columns >= 0)] = inside + np.where(light, np.uint8(192), np.uint8(0))[..., None]
    return picture


def read(
    image: NDArray[np.uint8],
    *,
    crop: Literal["center", "pad"] = "center",
    source_size: tuple[int, int] | None = None,
) -> Stamp:
    """The stamp of a source picture, or of one that was cropped or padded and then scaled.

    Args:
        image: (H', W', 3) uint8 RGB, or (H', W') luma of either range.
        crop: "center": the centre square of the source fills the image's own centre square (true of an untouched
            or merely scaled picture as well). "pad": the whole source was fitted into the image, bars around it.
        source_size: (height, width) of the source, which "pad" needs.

    Raises:
        BarcodeUnreadable: No grid of enough contrast, or the checksum is wrong.
    """
    luma = image @ _LUMA_BT601 if image.ndim == 3 else image.astype(np.float64)
    levels = _cell_levels(luma, _square_side(luma.shape, crop=crop, source_size=source_size) * _GRID_SHARE)
    known = levels[-1]
    light, dark = known[_KNOWN_ROW].min(), known[~_KNOWN_ROW].max()
    if light - dark < _MIN_CONTRAST:
        raise BarcodeUnreadable(f"light cells {light:.0f}, dark cells {dark:.0f}: no grid in a {luma.shape} image")
    return _decode(levels[:-1] > (light + dark) / 2)


def _cells(stamp: Stamp) -> NDArray[np.bool_]:
    """(8, 8): 40 bits of payload, 16 of checksum, the known row."""
    payload = (stamp.frame << 20) | (stamp.episode << 6) | stamp.camera
    bits = np.unpackbits(np.frombuffer(payload.to_bytes(5, "big") + _checksum(payload), np.uint8)).astype(bool)
    return np.vstack([bits.reshape(_CELLS - 1, _CELLS), _KNOWN_ROW])


def _decode(bits: NDArray[np.bool_]) -> Stamp:
    content = np.packbits(bits.ravel()).tobytes()
    payload = int.from_bytes(content[:5], "big")
    if content[5:] != _checksum(payload):
        raise BarcodeUnreadable(f"wrong checksum for frame {payload >> 20}: blended, shifted or not a barcode")
    return Stamp(payload >> 20, (payload >> 6) & MAX_EPISODE, payload & MAX_CAMERA)


def _checksum(payload: int) -> bytes:
    # The lower half of a CRC-32: the chance of a misread that passes is 1 in 65536.
    return zlib.crc32(payload.to_bytes(5, "big")).to_bytes(4, "big")[2:]


@lru_cache
def _cell_of_pixel(height: int, width: int, axis: Literal[0, 1]) -> NDArray[np.int64]:
    """Cell index of each pixel along one axis, -1 outside the grid."""
    num_pixels = (height, width)[axis]
    side = min(height, width) * _GRID_SHARE
    cell = np.floor((np.arange(num_pixels) + 0.5 - (num_pixels - side) / 2) * _CELLS / side).astype(np.int64)
    return np.where((cell >= 0) & (cell < _CELLS), cell, -1)


def _square_side(
    shape: tuple[int, ...], *, crop: Literal["center", "pad"], source_size: tuple[int, int] | None
) -> float:
    """Side in pixels of the source's centre square, as it lies in the middle of the image."""
    if crop == "center":
        return min(shape)
    if source_size is None:
        raise ValueError("crop='pad' needs source_size=(height, width) of the source")
    return min(source_size) * min(shape[0] / source_size[0], shape[1] / source_size[1])


def _cell_levels(luma: NDArray[np.float64], grid_side: float) -> NDArray[np.float64]:
    """Mean luma of the middle half of every cell, (8, 8), from a summed-area table."""
    table = np.pad(luma.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, bottom), (left, right) = (_cell_middles(size, grid_side) for size in luma.shape)
    to_bottom, to_top = table[bottom], table[top]
    sums = (to_bottom[:, right] - to_bottom[:, left]) - (to_top[:, right] - to_top[:, left])
    means: NDArray[np.float64] = sums / np.outer(bottom - top, right - left)
    return means


def _cell_middles(size: int, grid_side: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-last pixel of the middle half of each cell along an axis."""
    centers = (size - grid_side) / 2 + (np.arange(_CELLS) + 0.5) * grid_side / _CELLS
    reach = grid_side / _CELLS / 4
    first = np.round(centers - reach).astype(np.int64)
    return first, np.maximum(np.round(centers + reach).astype(np.int64), first + 1)


def _texture(height: int, width: int, frame_number: int, camera: int) -> NDArray[np.uint8]:
    """A window that wanders over a fixed pattern, its own for every camera."""
    down, right = (3 * frame_number) % height, (2 * frame_number) % width
    return _pattern(height, width, camera)[down : down + height, right : right + width]


@lru_cache(maxsize=16)
def _pattern(height: int, width: int, camera: int) -> NDArray[np.uint8]:
    """Soft waves with a little grain, (2 height, 2 width, 3) uint8 RGB, periodic in both directions."""
    rng = np.random.default_rng(camera)
    y, x = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    cycles = rng.integers(1, 5, (2, 3))
    waves = np.sin(2 * np.pi * (cycles[0] * y + cycles[1] * x + rng.random(3)))
    tile = 128 + 80 * waves + rng.normal(0, 8, (height, width, 1))
    return np.tile(tile.clip(0, 255).astype(np.uint8), (2, 2, 1))
