"""GR00T's collator with tokenised text kept, and images that are finished where the model is; batches are equal.

A pipeline returns `CachingCollator(processor.collator)` of its release as its data collator. "pixel_values" of its
batches is an ImageBatch, which millrace.train.image_batch.Finisher turns into what GR00T's collator gives, where the
model is.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from millrace.train.fallbacks import warn_fallback
from millrace.train.image_batch import ImageBatch, noise_image
from millrace.train.image_target import PixelTarget

# Texts kept; a dataset whose every step has a text of its own must not fill the memory.
MAX_TEXTS = 4096

Images = Sequence[NDArray[np.uint8]]
Features = list[dict[str, Any]]
Inputs = dict[str, Any]


class SharedCachingCollator:
    """What a release's caching collator does; GR00T's own stands beside it among the bases.

    It tokenises every text once, and takes BatchProcessor's samples and GR00T's own. A batch whose images would differ
    from GR00T's, or are of several sizes, is left to GR00T's collator.
    """

    processor: Any

    def __init__(self, collator: Any) -> None:
        vars(self).update(vars(collator))  # shares what `collator` has loaded; it stays usable by itself
        self._token_ids: dict[tuple[str, tuple[tuple[int, ...], ...]], torch.Tensor | None] = {}
        self._targets: dict[tuple[int, ...], PixelTarget | None] = {}
        self._mixed: set[frozenset[tuple[int, ...]]] = set()
        self._kind: type = dict

    def __call__(self, features: Features) -> Any:
        """A batch: "inputs" with input_ids, attention_mask, pixel_values, state, action, ..."""
        contents = [feature["vlm_content"] for feature in features]
        inputs = None if any("conversation" in content for content in contents) else self._vlm_inputs(contents)
        if inputs is None:
            return self.collate_as_groot(list(map(_as_groots, features)))
        keys = dict.fromkeys(key for feature in features for key in feature if key != "vlm_content")
        others = {key: _stack([feature[key] for feature in features if key in feature]) for key in keys}
        return self._kind({"inputs": others | inputs})

    def collate_as_groot(self, features: Features) -> Any:
        """What GR00T's own collator makes of GR00T's samples."""
        raise NotImplementedError

    @property
    def one_image(self) -> str:
        """A text that takes one image."""
        raise NotImplementedError

    def candidates(self, found: Inputs) -> Iterable[PixelTarget]:
        """What may have been done to an image of which GR00T's collator made this."""
        raise NotImplementedError

    def sizes(self, target: PixelTarget, num_images: int) -> Inputs:
        """What a batch says of its images' sizes."""
        raise NotImplementedError

    def uses_each_image(self, text: str, num_images: int, found: Inputs) -> bool:
        """Whether a text takes each of its images once."""
        raise NotImplementedError

    def _vlm_inputs(self, contents: Sequence[Inputs]) -> Inputs | None:
        images = [image for content in contents for image in content["images"]]
        shapes = frozenset(image.shape for image in images)
        if len(shapes) > 1:
            self._warn_of_several(shapes)
            return None
        target = self._target(images[0].shape)
        if target is None:
            return None
        tokens = [self._tokenized(content["text"], content["images"]) for content in contents]
        token_ids = [ids for ids in tokens if ids is not None]
        if len(token_ids) < len(tokens):
            return None
        padded = self._left_padded(token_ids)
        return {**padded, **self.sizes(target, len(images)), "pixel_values": ImageBatch.stack(images, target)}

    def _warn_of_several(self, shapes: frozenset[tuple[int, ...]]) -> None:
        if shapes not in self._mixed:
            self._mixed.add(shapes)
            found = ", ".join(map(str, sorted(shapes)))
            warn_fallback(f"GR00T's processor finishes batches with images of {found}: ours takes images of one shape")

    def _alone(self, text: str, images: Images) -> Inputs:
        """GR00T's inputs for one sample."""
        batch = self.collate_as_groot([_as_groots({"vlm_content": {"text": text, "images": images}})])
        self._kind = type(batch)
        return dict(batch["inputs"])

    def _target(self, shape: tuple[int, ...]) -> PixelTarget | None:
        """What images of a shape are to become; None where we do not come to what GR00T's processor does."""
        if shape not in self._targets:
            noise = noise_image(*shape)
            found = self._alone(self.one_image, [noise])
            equal = (target for target in self.candidates(found) if self._gives(found, noise, target))
            self._targets[shape] = next(equal, None)
            if self._targets[shape] is None:
                warn_fallback(f"GR00T's processor finishes images of {shape}: ours would differ")
        return self._targets[shape]

    def _gives(self, found: Inputs, image: NDArray[np.uint8], target: PixelTarget) -> bool:
        """Whether the inputs that we would make of one image are GR00T's."""
        pixels = target.arrange(ImageBatch.stack([image], target).finish())
        ours = {**self._left_padded([found["input_ids"][0]]), **self.sizes(target, 1), "pixel_values": pixels}
        return found.keys() == ours.keys() and all(_is_same(found[key], ours[key]) for key in found)

    def _tokenized(self, text: str, images: Images) -> torch.Tensor | None:
        """Token ids of a text with places for its images; None where it does not use each of them once."""
        key = text, tuple(image.shape for image in images)
        if key not in self._token_ids:
            alone = self._alone(text, images)
            if len(self._token_ids) >= MAX_TEXTS:
                self._token_ids.clear()
            is_plain = self.uses_each_image(text, len(images), alone)
            self._token_ids[key] = alone["input_ids"][0] if is_plain else None
        return self._token_ids[key]

    def _left_padded(self, token_ids: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        shape = len(token_ids), max(map(len, token_ids))
        ids = torch.full(shape, self.processor.tokenizer.pad_token_id, dtype=torch.int64)
        attention = torch.zeros(shape, dtype=torch.int64)
        for row, tokens in enumerate(token_ids):
            ids[row, shape[1] - len(tokens) :] = tokens
            attention[row, shape[1] - len(tokens) :] = 1
        return {"input_ids": ids, "attention_mask": attention}


def normalisation(rules: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in [0, 255]: x / 255 is normalised in one step, so that the scale goes into both."""
    mean, std = (
        tuple((torch.tensor(values) * (1.0 / rules.rescale_factor)).tolist())
        for values in (rules.image_mean, rules.image_std)
    )
    return mean, std


def _as_groots(feature: dict[str, Any]) -> dict[str, Any]:
    """A sample as GR00T's own collator takes it."""
    content = feature["vlm_content"]
    if "conversation" in content:
        return feature
    images = list(map(Image.fromarray, content["images"]))
    told = [{"role": "user", "content": [{"type": "image", "image": image} for image in images]}]
    return {**feature, "vlm_content": {"text": content["text"], "images": images, "conversation": told}}


def _is_same(expected: Any, found: Any) -> bool:
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(torch.equal, expected, found))
    return isinstance(found, torch.Tensor) and expected.dtype == found.dtype and torch.equal(expected, found)


def _stack(values: Sequence[Any]) -> torch.Tensor:
    if isinstance(values[0], torch.Tensor):
        return torch.stack(list(values))
    return torch.from_numpy(np.stack(values))
