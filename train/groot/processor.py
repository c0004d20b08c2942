"""GR00T's processor over a batch of steps at once, and its collator with tokenised text kept; outputs are equal.

A pipeline returns `CachingCollator(processor.collator)` as its data collator; the processor itself is not
replaced (train/groot/loader.py wraps it where it is used), so `processor.save_pretrained` writes what GR00T writes.
The two go together: a step's pictures travel between them as bare arrays.
"""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gr00t.data.state_action.state_action_processor import StateActionProcessor
from gr00t.data.types import ActionRepresentation, ActionType, VLAStepData
from gr00t.model.gr00t_n1d6.image_augmentations import apply_with_replay
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator, Gr00tN1d6Processor
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import get_worker_info
from transformers.feature_extraction_utils import BatchFeature

# Texts kept; a dataset whose every step has a text of its own must not fill the memory.
MAX_TEXTS = 4096


class BatchProcessor:
    """Gr00tN1d6Processor for many steps of one embodiment, state and action of all steps at once."""

    def __init__(self, processor: Gr00tN1d6Processor) -> None:
        self.processor = processor
        self._texts: dict[tuple[str, int], str] = {}

    @classmethod
    def of(cls, processor: Any) -> "BatchProcessor | None":
        """The batch processor for one of GR00T's; None for other types, which may do other things."""
        parts = (processor, getattr(processor, "state_action_processor", None), getattr(processor, "collator", None))
        is_known = tuple(map(type, parts)) == (Gr00tN1d6Processor, StateActionProcessor, Gr00tN1d6DataCollator)
        return cls(processor) if is_known else None

    def __call__(self, steps: Sequence[VLAStepData]) -> list[dict[str, Any]]:
        """One sample a step; "vlm_content" holds "text" and "images", (H, W, 3) uint8 each, for CachingCollator."""
        tag = steps[0].embodiment.value
        processor = self.processor
        states = self._states(steps, tag)
        actions, mask = self._actions(steps, tag)
        embodiment_id = processor.embodiment_id_mapping[tag]
        return [
            {
                "state": states[place],
                "action": actions[place],
                "vlm_content": self._content(step, tag),
                "action_mask": mask,
                "embodiment_id": embodiment_id,
            }
            for place, step in enumerate(steps)
        ]

    def _states(self, steps: Sequence[VLAStepData], tag: str) -> torch.Tensor:
        """(num_steps, T, max_state_dim)."""
        values = _stacked([step.states for step in steps])
        normalized = self.processor.state_action_processor.apply_state(values, tag)
        joined = _joined(normalized, self.processor.modality_configs[tag]["state"].modality_keys)
        return _padded(joined, joined.shape[1], self.processor.max_state_dim).to(torch.get_default_dtype())

    def _actions(self, steps: Sequence[VLAStepData], tag: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(num_steps, max_action_horizon, max_action_dim), and the mask that all of them share."""
        processor = self.processor
        values = self._relative([step.actions for step in steps], [step.states for step in steps], tag)
        # Relative already: what is left to do works on any number of leading axes.
        normalizer = copy.copy(processor.state_action_processor)
        normalizer.use_relative_action = False
        normalized = normalizer.apply_action(values, tag)
        joined = _joined(normalized, processor.modality_configs[tag]["action"].modality_keys)
        padded = _padded(joined, processor.max_action_horizon, processor.max_action_dim)
        mask = torch.zeros_like(padded[0])
        mask[: joined.shape[1], : joined.shape[2]] = 1
        return padded.to(torch.get_default_dtype()), mask

    def _relative(
        self, actions: list[dict[str, NDArray[Any]]], states: list[dict[str, NDArray[Any]]], tag: str
    ) -> dict[str, NDArray[Any]]:
        """Actions by group, (num_steps, T, D), those of relative groups taken from the last state, in float64."""
        converter = self.processor.state_action_processor
        values = _stacked(actions)
        config = self.processor.modality_configs[tag]["action"]
        for key, action in zip(config.modality_keys, config.action_configs or (), strict=False):
            if not (action.rep == ActionRepresentation.RELATIVE and converter.use_relative_action):
                continue
            references = [state[action.state_key or key][-1] for state in states]
            if action.type == ActionType.NON_EEF:
                values[key] = values[key].astype(np.float64) - np.stack(references)[:, None].astype(np.float64)
            else:
                values[key] = np.stack(
                    [
                        converter._convert_to_relative_action(chunk, reference, action.type, action.format)
                        for chunk, reference in zip(values[key], references, strict=True)
                    ]
                )
        return values

    def _content(self, step: VLAStepData, tag: str) -> dict[str, Any]:
        images = self._images(step, tag)
        language = step.text
        if self.processor.formalize_language:
            language = re.sub(r"[^\w\s]", "", language.lower())
        key = language, len(images)
        if key not in self._texts:
            if len(self._texts) >= MAX_TEXTS:
                self._texts.clear()
            channels_first = np.stack([image.transpose(2, 0, 1) for image in images])
            self._texts[key] = self.processor._apply_vlm_processing(channels_first, language)["vlm_content"]["text"]
        return {"text": self._texts[key], "images": images}

    def _images(self, step: VLAStepData, tag: str) -> list[NDArray[np.uint8]]:
        """Cropped, resized and augmented (H, W, 3), time by time and camera by camera within."""
        processor = self.processor
        transform = processor.train_image_transform if processor.training else processor.eval_image_transform
        views, replay = [], None
        for camera in processor.modality_configs[tag]["video"].modality_keys:
            if processor.use_albumentations:
                tensors, replay = apply_with_replay(transform, step.images[camera], None, replay)
            else:
                tensors = [transform(image) for image in step.images[camera]]
            views.append([tensor.permute(1, 2, 0).numpy() for tensor in tensors])
        return [image for moment in zip(*views, strict=True) for image in moment]


class CachingCollator(Gr00tN1d6DataCollator):
    """Gr00tN1d6DataCollator that tokenises every text once; takes BatchProcessor's samples, and GR00T's own."""

    def __init__(self, collator: Gr00tN1d6DataCollator) -> None:
        # Shares what `collator` has loaded; it stays usable by itself.
        self.processor, self.model_type, self.model_name = collator.processor, collator.model_type, collator.model_name
        self._token_ids: dict[tuple[str, tuple[tuple[int, ...], ...]], torch.Tensor] = {}

    def __call__(self, features: list[dict[str, Any]]) -> BatchFeature:
        """A batch: "inputs" with input_ids, attention_mask, pixel_values, image_sizes, state, action, ..."""
        contents = [feature["vlm_content"] for feature in features]
        if any("conversation" in content for content in contents):
            batch: BatchFeature = super().__call__(features)
            return batch
        keys = dict.fromkeys(key for feature in features for key in feature if key != "vlm_content")
        inputs = {key: _stack([feature[key] for feature in features if key in feature]) for key in keys}
        return BatchFeature(data={"inputs": inputs | self._vlm_inputs(contents)})

    def _vlm_inputs(self, contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        texts = [content["text"] for content in contents]
        images = self._resized([image for content in contents for image in content["images"]])
        if len({image.size for image in images}) > 1:
            return self._as_groot(texts, images)
        token_ids, place = [], 0
        for content in contents:
            stop = place + len(content["images"])
            ids = self._tokenized(content["text"], images[place:stop])
            if ids is None:  # the text itself names pictures: which ones are used, GR00T must say
                return self._as_groot(texts, images)
            token_ids.append(ids)
            place = stop
        return {
            **self._left_padded(token_ids),
            "pixel_values": self._normalized(images),
            "image_sizes": torch.tensor([(image.height, image.width) for image in images]),
        }

    def _as_groot(self, texts: list[str], images: list[Image.Image]) -> dict[str, Any]:
        return dict(self.processor(text=texts, images=images, return_tensors="pt", padding=True))

    def _resized(self, images: Sequence[NDArray[np.uint8]]) -> list[Image.Image]:
        """To the nearest size that makes whole patches, by GR00T's own rule and filter."""
        content = [{"type": "image", "image": Image.fromarray(image)} for image in images]
        resized: list[Image.Image] = self.processor.process_vision_info([[{"role": "user", "content": content}]])[0]
        return resized

    def _tokenized(self, text: str, images: Sequence[Image.Image]) -> torch.Tensor | None:
        """Token ids of a text with places for its images; None where it does not use each of them once."""
        key = text, tuple(image.size for image in images)
        if key not in self._token_ids:
            alone = self.processor(text=[text], images=list(images), return_tensors="pt", padding=True)
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

    def _normalized(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """(1, 3, H, W) float32 each, of images of one size."""
        rules = self.processor.image_processor
        # As GR00T's: x / 255 is normalised in one step, so the scale goes into mean and deviation.
        mean, std = (
            torch.tensor(values)[:, None, None] * (1.0 / rules.rescale_factor)
            for values in (rules.image_mean, rules.image_std)
        )
        whole = torch.empty(len(images), 3, images[0].height, images[0].width)
        if get_worker_info() is not None:
            whole.share_memory_()  # where it must go anyway, before it is filled
        for pixels, image in zip(whole, images, strict=True):
            pixels.copy_(torch.from_numpy(np.array(image)).permute(2, 0, 1)).sub_(mean).div_(std)
        return _parts(whole) if get_worker_info() is None else Views(whole)


class Views(list[torch.Tensor]):
    """The slices of a tensor along its first axis, as GR00T passes images; pickled as one tensor."""

    def __init__(self, whole: torch.Tensor) -> None:
        super().__init__(_parts(whole))
        self.whole = whole

    def __reduce__(self) -> tuple[Callable[[torch.Tensor], list[torch.Tensor]], tuple[torch.Tensor]]:
        # There a plain list: transformers' Trainer rebuilds lists as type(data)(parts).
        return _parts, (self.whole,)


def _parts(whole: torch.Tensor) -> list[torch.Tensor]:
    return list(whole.split(1))


def _stacked(steps: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Values by joint group, (num_steps, T, D)."""
    return {key: np.stack([step[key] for step in steps]) for key in steps[0]}


def _joined(groups: dict[str, NDArray[Any]], keys: Sequence[str]) -> torch.Tensor:
    return torch.cat([torch.from_numpy(groups[key]) for key in keys], dim=-1)


def _padded(values: torch.Tensor, num_rows: int, width: int) -> torch.Tensor:
    """(num_steps, num_rows, width), zeros after the values; float64 where these are, as in GR00T."""
    dtype = torch.promote_types(values.dtype, torch.get_default_dtype())
    padded = torch.zeros(len(values), num_rows, width, dtype=dtype)
    padded[:, : values.shape[1], : values.shape[2]] = values
    return padded


def _stack(values: Sequence[Any]) -> torch.Tensor:
    if isinstance(values[0], torch.Tensor):
        return torch.stack(list(values))
    return torch.from_numpy(np.stack(values))
