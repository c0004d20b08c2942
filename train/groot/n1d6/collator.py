"""GR00T N1.6's collator with tokenised text kept, and images that are finished where the model is."""

from collections.abc import Iterator
from typing import Any

import torch
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator

from millrace.train.groot.caching_collator import Features, Inputs, SharedCachingCollator, normalisation
from millrace.train.image_target import ImageTarget, PixelTarget


class CachingCollator(SharedCachingCollator, Gr00tN1d6DataCollator):
    """Gr00tN1d6DataCollator that tokenises every text once; images are resized as Pillow does it."""

    def collate_as_groot(self, features: Features) -> Any:
        """Gr00tN1d6DataCollator's batch."""
        return Gr00tN1d6DataCollator.__call__(self, features)

    @property
    def one_image(self) -> str:
        """The word for the first image."""
        return "<image-1>"

    def candidates(self, found: Inputs) -> Iterator[PixelTarget]:
        """Along rows first, or along columns."""
        height, width = found["image_sizes"][0].tolist()
        mean, std = normalisation(self.processor.image_processor)
        return (ImageTarget((height, width), mean, std, columns_first) for columns_first in (False, True))

    def sizes(self, target: PixelTarget, num_images: int) -> Inputs:
        """Height and width of each."""
        assert isinstance(target, ImageTarget), "of `candidates`"
        return {"image_sizes": torch.tensor([target.size]).repeat(num_images, 1)}

    def uses_each_image(self, text: str, num_images: int, found: Inputs) -> bool:
        """A text may name an image twice, or leave one out."""
        return len(found["pixel_values"]) == num_images
