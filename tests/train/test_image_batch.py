"""Images leave a loader as bytes and reach the model as floats, the same that Pillow and a division make of them."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from millrace.train.image_batch import Finisher, ImageBatch, noise_image
from millrace.train.image_target import ImageTarget, PatchTarget, resize_as_torch

MEAN, STD = (127.5, 120.0, 0.0), (127.5, 60.3, 255.0)
TARGET = ImageTarget((84, 56), MEAN, STD)
CPU = torch.device("cpu")
NUM_IMAGES = 8


class Noise(Dataset[NDArray[np.uint8]]):
    """Images of which each is turned differently."""

    def __len__(self) -> int:
        return NUM_IMAGES

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        return np.roll(noise_image(60, 70), number, axis=(0, 1))


def collate(images: Sequence[NDArray[np.uint8]]) -> ImageBatch:
    """As a collator in a loader's process does it."""
    return ImageBatch.stack(images, TARGET)


def finish_by_pillow(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    resized = np.asarray(Image.fromarray(image).resize((56, 84), Image.Resampling.BICUBIC), dtype=np.float32)
    normalised: NDArray[np.float32] = (resized - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return normalised.transpose(2, 0, 1)


def cut_by_hand(image: NDArray[np.uint8], target: PatchTarget) -> list[NDArray[np.float32]]:
    """Patch after patch, those that are merged next to each other; in each, plane after plane, all times alike."""
    (planes,) = resize_as_torch(torch.from_numpy(image)[None], target.size).numpy().astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (target.mean, target.std))
    rows, columns = target.grid
    places = [
        (row + down, column + right)
        for row in range(0, rows, target.merge)
        for column in range(0, columns, target.merge)
        for down in range(target.merge)
        for right in range(target.merge)
    ]
    size = target.patch
    patches = [
        (planes[:, row * size : (row + 1) * size, column * size : (column + 1) * size] - mean) / std
        for row, column in places
    ]
    return [np.stack([patch] * target.num_times, axis=1).ravel() for patch in patches]


def assert_finished(batches: Sequence[ImageBatch], device: torch.device = CPU) -> None:
    finisher, dataset = Finisher(device), Noise()
    finished = [image for batch in batches for image in finisher(batch)]
    assert len(finished) == len(dataset)
    for image, expected in zip(
        finished, map(finish_by_pillow, map(dataset.__getitem__, range(NUM_IMAGES))), strict=True
    ):
        assert image.dtype == torch.float32
        assert np.array_equal(image.numpy(), expected[None])


def test_finished_images_are_pillows_bit_for_bit() -> None:
    dataset = Noise()
    assert_finished([collate([dataset[number] for number in range(NUM_IMAGES)])])


def test_a_loaders_process_hands_over_bytes_in_shared_memory() -> None:
    batches = list(DataLoader(Noise(), batch_size=4, num_workers=2, collate_fn=collate))
    assert [batch.pixels.dtype for batch in batches] == [torch.uint8, torch.uint8]
    assert [tuple(batch.pixels.shape) for batch in batches] == [(4, 60, 70, 3), (4, 60, 70, 3)]
    assert all(batch.pixels.is_shared() for batch in batches)
    assert_finished(batches)


def test_a_device_that_does_not_give_pillows_pixels_is_not_used() -> None:
    """`meta` computes nothing at all."""
    dataset = Noise()
    with pytest.warns(UserWarning, match="meta does not resize images exactly; the CPU does it"):
        assert_finished([collate([dataset[number] for number in range(NUM_IMAGES)])], torch.device("meta"))


@pytest.mark.parametrize("size", [(32, 64), (30, 70), (17, 19)])
@pytest.mark.parametrize("num_times", [1, 2])
def test_images_become_patches(size: tuple[int, int], num_times: int) -> None:
    """With and without a change of size, several images after each other."""
    target = PatchTarget((4, 8), patch=8, merge=2, num_times=num_times, mean=MEAN, std=STD)
    images = [np.roll(noise_image(*size), number, axis=(0, 1)) for number in range(3)]
    found = Finisher(CPU)(ImageBatch.stack(images, target))
    expected = np.stack([patch for image in images for patch in cut_by_hand(image, target)])
    assert isinstance(found, torch.Tensor)
    assert found.shape == (3 * 4 * 8, 3 * num_times * 8 * 8)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected)
