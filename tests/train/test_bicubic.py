"""Images are resized as Pillow resizes them, bit for bit, whatever they show and whatever their size."""

from collections.abc import Callable

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from millrace.train.bicubic import bicubic_taps, resize_bicubic
from millrace.train.image_batch import noise_image
from millrace.train.image_target import resize_as_torch

PILLOW = int(PIL.__version__.split(".")[0])
# Height and width, before and after.
SIZES = {
    "gr00t's": ((256, 256), (252, 252)),
    "as it is": ((56, 56), (56, 56)),
    "width alone": ((56, 60), (56, 56)),
    "height alone": ((60, 56), (56, 56)),
    "enlarged": ((64, 48), (84, 112)),
    "enlarged twenty times": ((5, 3), (112, 56)),
    "reduced": ((480, 640), (84, 112)),
    "reduced to a pixel": ((97, 31), (1, 1)),
    "of a pixel": ((1, 1), (28, 28)),
    "primes": ((101, 67), (89, 103)),
}


def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Black and white lines of one pixel: every sum overshoots."""
    rows, columns = np.indices((height, width))
    return np.stack([(rows % 2) * 255, (columns % 2) * 255, ((rows + columns) % 2) * 255], axis=-1).astype(np.uint8)


def dots(height: int, width: int) -> NDArray[np.uint8]:
    """White pixels far apart: the weights themselves."""
    image = np.zeros((height, width, 3), np.uint8)
    image[::7, ::5] = 255
    return image


def slopes(height: int, width: int) -> NDArray[np.uint8]:
    """Values that climb slowly: sums near the middle between two levels."""
    rows, columns = np.indices((height, width))
    return np.stack([rows // 3, columns // 2, (rows + columns) // 5], axis=-1).astype(np.uint8)


DrawImage = Callable[[int, int], NDArray[np.uint8]]
IMAGES: dict[str, DrawImage] = {"noise": noise_image, "stripes": stripes, "dots": dots, "slopes": slopes}


def resize_by_pillow(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def resize(images: NDArray[np.uint8], size: tuple[int, int], *, columns_first: bool = False) -> NDArray[np.int32]:
    """Our own, (N, *size, 3)."""
    resized = resize_bicubic(torch.from_numpy(images), size, columns_first=columns_first)
    values: NDArray[np.int32] = resized.permute(0, 2, 3, 1).numpy()
    return values


def assert_pillows(image: NDArray[np.uint8], size: tuple[int, int]) -> None:
    """In the order of Pillow's version; for squares and before Pillow 13 it is always the same one."""
    orders = (False,) if PILLOW < 13 or (image.shape[0] == image.shape[1] and size[0] == size[1]) else (False, True)
    expected = resize_by_pillow(image, size)
    assert any(np.array_equal(resize(image[None], size, columns_first=order)[0], expected) for order in orders)


@pytest.mark.parametrize("draw", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize(("size", "to_size"), SIZES.values(), ids=SIZES)
def test_every_pixel_is_pillows(size: tuple[int, int], to_size: tuple[int, int], draw: DrawImage) -> None:
    assert_pillows(draw(*size), to_size)


side = st.integers(1, 80)


@settings(max_examples=100, deadline=None)
@given(size=st.tuples(side, side), to_size=st.tuples(side, side), seed=st.integers(0, 1 << 32), contrast=st.booleans())
def test_every_size_and_image_is_resized_as_by_pillow(
    size: tuple[int, int], to_size: tuple[int, int], seed: int, contrast: bool
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    if contrast:
        image = np.where(image < 128, 0, 255).astype(np.uint8)
    assert_pillows(image, to_size)


def assert_torchs(images: NDArray[np.uint8], size: tuple[int, int]) -> None:
    """By whole numbers alone, as on a GPU, and as we do it on a CPU."""
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    expected = interpolate(planes, size=size, mode="bicubic", align_corners=False, antialias=True)
    assert torch.equal(resize_bicubic(torch.from_numpy(images), size, short_weights=True), expected.to(torch.int32))
    assert torch.equal(resize_as_torch(torch.from_numpy(images), size), expected)


# Torch fails where only a pixel is left.
TORCHS_SIZES = {name: sizes for name, sizes in SIZES.items() if sizes[1] != (1, 1)}
torchs_side = st.integers(2, 80)


@pytest.mark.parametrize("draw", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize(("size", "to_size"), TORCHS_SIZES.values(), ids=TORCHS_SIZES)
def test_every_pixel_is_torchs(size: tuple[int, int], to_size: tuple[int, int], draw: DrawImage) -> None:
    assert_torchs(draw(*size)[None], to_size)


@settings(max_examples=100, deadline=None)
@given(size=st.tuples(side, side), to_height=torchs_side, to_width=torchs_side, seed=st.integers(0, 1 << 32))
def test_every_size_and_image_is_resized_as_by_torch(
    size: tuple[int, int], to_height: int, to_width: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    assert_torchs(np.where(images < 128, 0, 255).astype(np.uint8) if seed % 2 else images, (to_height, to_width))


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    images = np.stack([draw(40, 40) for draw in IMAGES.values()])
    expected = np.stack([resize_by_pillow(image, (56, 56)) for image in images])
    assert np.array_equal(resize(images, (56, 56)), expected)


@pytest.mark.parametrize("sizes", [(256, 252), (640, 84), (3, 112), (1, 28)], ids=str)
def test_no_sum_can_leave_32_bits(sizes: tuple[int, int]) -> None:
    """Neither by the brightest pixels nor, where weights are negative, by the darkest."""
    for short in (False, True):
        _, weights, bits = bicubic_taps(*sizes, short_weights=short)
        wide = weights.astype(np.int64)
        assert 255 * np.clip(wide, 0, None).sum(0).max() + (1 << (bits - 1)) < 1 << 31
        assert 255 * np.clip(wide, None, 0).sum(0).min() > -(1 << 31)
        assert not short or abs(wide).max() < 1 << 15
