"""What a model takes of images: N1.6 images of three planes, N1.7 flat patches; each value as GR00T has it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from millrace.train.bicubic import resize_bicubic

CPU = torch.device("cpu")


class PixelTarget(Protocol):
    """What images of one size become. It can be hashed."""

    def allocate(self, num_images: int, device: torch.device) -> Tensor:
        """Float32 for so many images, the first axis that of images."""

    def fill(self, finished: Tensor, pixels: Tensor) -> None:
        """Finish (N, H, W, 3) uint8 into what was allocated for them."""

    def arrange(self, finished: Tensor) -> Tensor | list[Tensor]:
        """The same values as the model takes them."""


@dataclass(frozen=True)
class ImageTarget:
    """Images resized as Pillow does it, in three planes.

    Args:
        size: Height and width.
        mean, std: Of each channel, for pixels in [0, 255].
        columns_first: How Pillow goes about this size, see `resize_bicubic`.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    columns_first: bool = False

    def allocate(self, num_images: int, device: torch.device) -> Tensor:
        """(N, 3, *size)."""
        return torch.empty(num_images, 3, *self.size, device=device)

    def fill(self, finished: Tensor, pixels: Tensor) -> None:
        """Resize and normalise."""
        resized = resize_bicubic(pixels, self.size, columns_first=self.columns_first)
        _normalise(finished.copy_(resized), self.mean, self.std)

    def arrange(self, finished: Tensor) -> list[Tensor]:
        """(1, 3, *size) for each image."""
        return list(finished.split(1))


@dataclass(frozen=True)
class PatchTarget:
    """Images resized as torch does it on a CPU, and cut into patches, as Qwen2VLImageProcessorFast gives them.

    An image is `num_times` equal frames of a film. `merge` by `merge` patches that the model merges follow each other.
    Source: transformers/models/qwen2_vl/image_processing_qwen2_vl_fast.py, 4.57.

    Args:
        grid: Rows and columns of patches.
        patch: Height and width of a patch, pixels.
        mean, std: Of each channel, for pixels in [0, 255].
    """

    grid: tuple[int, int]
    patch: int
    merge: int
    num_times: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.grid[0] * self.patch, self.grid[1] * self.patch

    def allocate(self, num_images: int, device: torch.device) -> Tensor:
        """(N, rows, columns, merge, merge, 3, num_times, patch, patch); rows and columns of merged patches."""
        rows, columns = (number // self.merge for number in self.grid)
        each = self.merge, self.merge, 3, self.num_times, self.patch, self.patch
        return torch.empty(num_images, rows, columns, *each, device=device)

    def fill(self, finished: Tensor, pixels: Tensor) -> None:
        """Resize, normalise and cut."""
        rows, columns = finished.shape[1:3]
        lines = resize_as_torch(pixels, self.size)
        cut = lines.reshape(len(pixels), 3, rows, self.merge, self.patch, columns, self.merge, self.patch)
        patches = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).contiguous()  # while a value is a byte
        finished.copy_(_normalise(patches.to(torch.float32), self.mean, self.std).unsqueeze(6))

    def arrange(self, finished: Tensor) -> Tensor:
        """(num_patches of all images, 3 * num_times * patch * patch)."""
        return finished.flatten(5).flatten(0, 4)


def resize_as_torch(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as `interpolate` does with uint8 on a CPU, on any device.

    Args:
        images: (N, H, W, C) uint8.
        size: Height and width of the result.

    Returns:
        (N, C, *size), whole numbers in [0, 255].
    """
    if images.shape[1:3] == size:
        return images.permute(0, 3, 1, 2)
    if images.device == CPU:
        planes = images.permute(0, 3, 1, 2).contiguous()
        return interpolate(planes, size=size, mode="bicubic", align_corners=False, antialias=True)
    return resize_bicubic(images, size, short_weights=True)


def _normalise(values: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """In place, (..., 3, height, width)."""
    # Tensors, not numbers: by a number CUDA would multiply with its reciprocal, which rounds differently.
    means, stds = (torch.tensor(numbers, device=values.device)[:, None, None] for numbers in (mean, std))
    return values.sub_(means).div_(stds)
