"""GR00T's processor over a batch of steps at once; outputs are equal.

The processor itself is not replaced (train/groot/loader.py wraps it where it is used), so that
`processor.save_pretrained` writes what GR00T writes. Its samples are for CachingCollator: a step's images travel
between the two as bare arrays.
"""

import copy
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from gr00t.data.types import ActionRepresentation, ActionType, MessageType, VLAStepData
from numpy.typing import NDArray

from millrace.train.fallbacks import warn_fallback
from millrace.train.groot.augmentation import Augmentation
from millrace.train.groot.random_state import is_random_state, random_state, set_random_state
from millrace.train.training_dataset import TrainingDataError

# Texts kept; a dataset whose every step has a text of its own must not fill the memory.
MAX_TEXTS = 4096
# Steps that are also given to GR00T's processor, of each embodiment, in training and in evaluation.
NUM_COMPARED = 3


class SharedBatchProcessor:
    """GR00T's processor for many steps of one embodiment, state and action of all steps at once.

    The first steps of an embodiment are compared with what GR00T's own processor makes of them. Where they differ, it
    takes all of them, one by one.
    """

    KINDS: ClassVar[tuple[type, type, type]]
    """GR00T's processor of a release, the processor of states and actions in it, and its collator."""
    AUGMENTATIONS: ClassVar[ModuleType]
    """Its module image_augmentations."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._texts: dict[tuple[str, int], str] = {}
        self._augmentations: dict[bool, Augmentation] = {}
        self._is_equal: dict[tuple[str, bool], bool] = {}

    @classmethod
    def of(cls, processor: Any) -> "SharedBatchProcessor | None":
        """The batch processor for one of GR00T's; None for other types, which may do other things."""
        parts = (processor, getattr(processor, "state_action_processor", None), getattr(processor, "collator", None))
        return cls(processor) if tuple(map(type, parts)) == cls.KINDS else None

    def __call__(self, steps: Sequence[VLAStepData]) -> list[dict[str, Any]]:
        """One sample a step; "vlm_content" holds "text" and "images", (H, W, 3) uint8 each, for CachingCollator."""
        key = steps[0].embodiment.value, self.processor.training
        if key not in self._is_equal:
            self._is_equal[key] = self._compare(steps[:NUM_COMPARED])
            if not self._is_equal[key]:
                warn_fallback(f"{key[0]}: steps are processed one by one, as ours would differ")
        return self._process(steps) if self._is_equal[key] else self._process_as_groot(steps)

    def _compare(self, steps: Sequence[VLAStepData]) -> bool:
        before = random_state()
        expected, after = self._process_as_groot(steps), random_state()
        set_random_state(before)
        found = self._process(steps)
        same_draws = is_random_state(after)
        set_random_state(before)
        return same_draws and all(map(_is_same_sample, expected, found))

    def _process_as_groot(self, steps: Sequence[VLAStepData]) -> list[dict[str, Any]]:
        return [self.processor([{"type": MessageType.EPISODE_STEP.value, "content": step}]) for step in steps]

    def _process(self, steps: Sequence[VLAStepData]) -> list[dict[str, Any]]:
        tag = steps[0].embodiment.value
        processor = self.processor
        states = self._states(steps, tag)
        actions, mask = self._actions(steps, tag)
        embodiment_id = processor.embodiment_id_mapping[tag]
        return [
            {
                # Before the images, as what it draws comes before what they draw.
                "state": torch.zeros_like(states[place]) if self.drops_state(tag) else states[place],
                "action": actions[place],
                "vlm_content": self._content(step, tag),
                "action_mask": mask,
                "embodiment_id": embodiment_id,
            }
            for place, step in enumerate(steps)
        ]

    def drops_state(self, tag: str) -> bool:
        """Whether the model shall not see the next step's state; draws a random number as GR00T does."""
        return False

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
        cameras = self.processor.modality_configs[tag]["video"].modality_keys
        views = self._augmentation(self.processor.training)([step.images[camera] for camera in cameras])
        images = [image for moment in zip(*views, strict=True) for image in moment]
        if len(sizes := {image.shape[:2] for image in images}) > 1:
            raise TrainingDataError(f"the augmented images of cameras {', '.join(cameras)} differ in size: {sizes}")
        return images

    def _augmentation(self, is_training: bool) -> Augmentation:
        if is_training not in self._augmentations:
            processor = self.processor
            self._augmentations[is_training] = Augmentation(
                processor.train_image_transform if is_training else processor.eval_image_transform,
                of_albumentations=processor.use_albumentations,
                upstream=self.AUGMENTATIONS,
            )
        return self._augmentations[is_training]


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


def _is_same_sample(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether a sample of GR00T's holds what ours holds, bit for bit; and a conversation beside it."""
    content, ours = expected["vlm_content"], found["vlm_content"]
    images = list(map(_as_array, content["images"]))
    same_images = len(images) == len(ours["images"]) and all(map(np.array_equal, images, ours["images"]))
    if expected.keys() != found.keys() or content["text"] != ours["text"] or not same_images:
        return False
    return all(_is_same(expected[key], found[key]) for key in expected.keys() - {"vlm_content"})


def _is_same(expected: Any, found: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return bool(expected.dtype == found.dtype and torch.equal(expected, found))
    return bool(expected == found)


def _as_array(image: Any) -> NDArray[np.uint8]:
    """(H, W, 3) of one of GR00T's images: of Pillow, or a tensor (3, H, W)."""
    return image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
