"""A batch's images on their way to the model: bytes from the loader, resized and normalised where the model is.

A loader's process hands over an ImageBatch, a fraction of what it becomes in the process that trains:

    finisher = Finisher(device)
    pixel_values = finisher(batch)          # as GR00T's collator gives them
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from millrace.train.fallbacks import warn_fallback
from millrace.train.image_target import CPU, PixelTarget

# Images finished together: on a GPU enough to keep it busy, on a CPU as many as its cache holds.
GPU_IMAGES, CPU_IMAGES = 32, 1


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images of one size that are still to be finished.

    Args:
        pixels: (N, H, W, 3) uint8.
        target: What they shall become.
    """

    pixels: Tensor
    target: PixelTarget

    @classmethod
    def stack(cls, images: Sequence[NDArray[np.uint8]], target: PixelTarget) -> "ImageBatch":
        """Images of one size, in a loader's process where another can read them."""
        pixels = torch.empty(len(images), *images[0].shape, dtype=torch.uint8)
        if get_worker_info() is not None:
            pixels.share_memory_()  # where they must go anyway, before it is filled
        np.stack(images, out=pixels.numpy())
        return cls(pixels, target)

    def pin_memory(self) -> "ImageBatch":
        """As torch's DataLoader asks for it."""
        return replace(self, pixels=self.pixels.pin_memory())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ImageBatch":
        """The same on a device."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking))

    def finish(self) -> Tensor:
        """What the target makes of them, on the device where they are: float32, the first axis that of images."""
        finished = self.target.allocate(len(self.pixels), self.pixels.device)
        num_together = CPU_IMAGES if self.pixels.device == CPU else GPU_IMAGES
        for part, out in zip(self.pixels.split(num_together), finished.split(num_together), strict=True):
            self.target.fill(out, part)
        return finished


class Finisher:
    """Finishes batches on a device, once it gave the CPU's values there; on the CPU otherwise."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._devices: dict[tuple[torch.Size, PixelTarget], torch.device] = {}

    def __call__(self, batch: ImageBatch) -> Tensor | list[Tensor]:
        """As the target's model takes them."""
        key = batch.pixels.shape[1:], batch.target
        if key not in self._devices:
            self._devices[key] = self.device if self._is_exact(*key) else CPU
        finished = batch.to(self._devices[key], non_blocking=True).finish()
        return batch.target.arrange(finished)

    def _is_exact(self, shape: torch.Size, target: PixelTarget) -> bool:
        noise = ImageBatch(torch.from_numpy(noise_image(*shape))[None], target)
        try:
            is_exact: bool = self.device == CPU or torch.equal(noise.to(self.device).finish().cpu(), noise.finish())
        except NotImplementedError:  # some devices lack operations on integers
            is_exact = False
        if not is_exact:
            warn_fallback(f"{self.device} does not resize images exactly; the CPU does it")
        return is_exact


def noise_image(height: int, width: int, num_channels: int = 3) -> NDArray[np.uint8]:
    """Noise of all values above, of black and white below: what tells one resize from another."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (height, width, num_channels), dtype=np.uint8)
    image[height // 2 :] = np.where(image[height // 2 :] <= 127, 0, 255)
    return image
