"""GR00T N1.6's collator with tokenised text kept, and images that are finished where the model is; batches are equal.

A pipeline returns `CachingCollator(processor.collator)` as its data collator. "pixel_values" of its batches is an
ImageBatch, which millrace.train.image_batch.Finisher turns into what GR00T's collator gives, where the model is.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator
from numpy.typing import NDArray
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature

from millrace.train.image_batch import ImageBatch, ImageTarget, noise_image

# Texts kept; a dataset whose every step has a text of its own must not fill the memory.
MAX_TEXTS = 4096
ONE_IMAGE = "<image-1>"  # the text by which GR00T's processor takes one image


class CachingCollator(Gr00tN1d6DataCollator):
    """Gr00tN1d6DataCollator that tokenises every text once; takes BatchProcessor's samples, and GR00T's own."""

    def __init__(self, collator: Gr00tN1d6DataCollator) -> None:
        # Shares what `collator` has loaded; it stays usable by itself.
        self.processor, self.model_type, self.model_name = collator.processor, collator.model_type, collator.model_name
        self._token_ids: dict[tuple[str, tuple[tuple[int, ...], ...]], torch.Tensor] = {}
        self._targets: dict[tuple[int, ...], ImageTarget | None] = {}

    def __call__(self, features: list[dict[str, Any]]) -> BatchFeature:
        """A batch: "inputs" with input_ids, attention_mask, pixel_values, image_sizes, state, action, ..."""
        contents = [feature["vlm_content"] for feature in features]
        if any("conversation" in content for content in contents):
            batch: BatchFeature = super().__call__(list(map(_with_conversation, features)))
            return batch
        keys = dict.fromkeys(key for feature in features for key in feature if key != "vlm_content")
        inputs = {key: _stack([feature[key] for feature in features if key in feature]) for key in keys}
        return BatchFeature(data={"inputs": inputs | self._vlm_inputs(contents)})

    def _vlm_inputs(self, contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        images = [image for content in contents for image in content["images"]]
        shapes = {image.shape for image in images}
        target = self._target(*shapes) if len(shapes) == 1 else None
        tokens = [self._tokenized(content["text"], content["images"]) for content in contents]
        token_ids = [ids for ids in tokens if ids is not None]
        if target is None or len(token_ids) < len(tokens):
            return self._as_groot([content["text"] for content in contents], images)
        return {
            **self._left_padded(token_ids),
            "pixel_values": ImageBatch.stack(images, target),
            "image_sizes": torch.tensor([target.size]).repeat(len(images), 1),
        }

    def _as_groot(self, texts: list[str], images: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
        return dict(self.processor(text=texts, images=self._resized(images), return_tensors="pt", padding=True))

    def _resized(self, images: Sequence[NDArray[np.uint8]]) -> list[Image.Image]:
        """To the nearest size that makes whole patches, by GR00T's own rule and filter."""
        resized: list[Image.Image] = self.processor.process_vision_info([_conversation(images)])[0]
        return resized

    def _target(self, shape: tuple[int, ...]) -> ImageTarget | None:
        """What images of a shape are to become; None where we do not come to what GR00T's processor does."""
        if shape not in self._targets:
            noise = noise_image(*shape)
            found = self._as_groot([ONE_IMAGE], [noise])
            rules = self.processor.image_processor
            # As GR00T's: x / 255 is normalised in one step, so the scale goes into mean and deviation.
            mean, std = (
                tuple((torch.tensor(values) * (1.0 / rules.rescale_factor)).tolist())
                for values in (rules.image_mean, rules.image_std)
            )
            height, width = found["image_sizes"][0].tolist()
            targets = (ImageTarget((height, width), mean, std, columns_first) for columns_first in (False, True))
            equal = (
                target
                for target in targets
                if torch.equal(ImageBatch.stack([noise], target).finish(), found["pixel_values"][0])
            )
            self._targets[shape] = next(equal, None)
            if self._targets[shape] is None:
                warnings.warn(f"GR00T's processor finishes images of {shape}: ours would differ", stacklevel=2)
        return self._targets[shape]

    def _tokenized(self, text: str, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor | None:
        """Token ids of a text with places for its images; None where it does not use each of them once."""
        key = text, tuple(image.shape for image in images)
        if key not in self._token_ids:
            alone = self._as_groot([text], images)
            if len(alone["pixel_values"]) != len(images):
                return None
            if len(self._token_ids) >= MAX_TEXTS:
                self._token_ids.clear()
            self._token_ids[key] = alone["input_ids"][0]
        return self._token_ids[key]

    def _left_padded(self, token_ids: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        shape = len(token_ids), max(map(len, token_ids))
        ids = torch.full(shape, self.processor.tokenizer.pad_token_id, dtype=torch.int64)
        attention = torch.zeros(shape, dtype=torch.int64)
        for row, tokens in enumerate(token_ids):
            ids[row, shape[1] - len(tokens) :] = tokens
            attention[row, shape[1] - len(tokens) :] = 1
        return {"input_ids": ids, "attention_mask": attention}


def _conversation(images: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "image": Image.fromarray(image)} for image in images]}]


def _with_conversation(feature: dict[str, Any]) -> dict[str, Any]:
    """A sample as GR00T's own collator takes it."""
    content = feature["vlm_content"]
    if "conversation" in content:
        return feature
    return {**feature, "vlm_content": {**content, "conversation": _conversation(content["images"])}}


def _stack(values: Sequence[Any]) -> torch.Tensor:
    if isinstance(values[0], torch.Tensor):
        return torch.stack(list(values))
    return torch.from_numpy(np.stack(values))
