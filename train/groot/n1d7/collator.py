"""GR00T N1.7's collator with tokenised text kept, and images that are cut into patches where the model is."""

from collections.abc import Iterator
from typing import Any

import torch
from gr00t.model.gr00t_n1d7.processing_gr00t_n1d7 import Gr00tN1d7DataCollator

from millrace.train.groot.caching_collator import Features, Inputs, SharedCachingCollator, normalisation
from millrace.train.image_target import PatchTarget, PixelTarget


class CachingCollator(SharedCachingCollator, Gr00tN1d7DataCollator):
    """Gr00tN1d7DataCollator that tokenises every text once; images are resized as torch does it."""

    def collate_as_groot(self, features: Features) -> Any:
        """Gr00tN1d7DataCollator's batch."""
        return Gr00tN1d7DataCollator.__call__(self, features)

    @property
    def one_image(self) -> str:
        """The word for an image."""
        return str(self.processor.image_token)

    def candidates(self, found: Inputs) -> Iterator[PixelTarget]:
        """By the rules of Qwen2VLImageProcessorFast."""
        rules = self.processor.image_processor
        _, rows, columns = found["image_grid_thw"][0].tolist()
        layout = {"patch": rules.patch_size, "merge": rules.merge_size, "num_times": rules.temporal_patch_size}
        mean, std = normalisation(rules)
        yield PatchTarget((rows, columns), **layout, mean=mean, std=std)

    def sizes(self, target: PixelTarget, num_images: int) -> Inputs:
        """Times, rows and columns of patches of each image."""
        assert isinstance(target, PatchTarget), "of `candidates`"
        return {"image_grid_thw": torch.tensor([[1, *target.grid]]).repeat(num_images, 1)}

    def uses_each_image(self, text: str, num_images: int, found: Inputs) -> bool:
        """A text that is left as it is may say the word by which an image is taken."""
        return text.count(self.processor.image_token) == num_images
