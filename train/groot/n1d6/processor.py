"""GR00T N1.6's processor over a batch of steps at once; outputs are equal.

The processor itself is not replaced (train/groot/loader.py wraps it where it is used), so that
`processor.save_pretrained` writes what GR00T writes. Its samples are for CachingCollator: a step's images travel
between the two as bare arrays.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gr00t.data.state_action.state_action_processor import StateActionProcessor
from gr00t.data.types import ActionRepresentation, ActionType, VLAStepData
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator, Gr00tN1d6Processor
from numpy.typing import NDArray

from millrace.train.groot.n1d6.augmentation import Augmentation
from millrace.train.training_dataset import TrainingDataError

# Texts kept; a dataset whose every step has a text of its own must not fill the memory.
MAX_TEXTS = 4096


class BatchProcessor:
    """Gr00tN1d6Processor for many steps of one embodiment, state and action of all steps at once."""

    def __init__(self, processor: Gr00tN1d6Processor) -> None:
        self.processor = processor
        self._texts: dict[tuple[str, int], str] = {}
        self._augmentations: dict[bool, Augmentation] = {}

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
        cameras = self.processor.modality_configs[tag]["video"].modality_keys
        views = self._augmentation(self.processor.training)([step.images[camera] for camera in cameras])
        images = [image for moment in zip(*views, strict=True) for image in moment]
        if len(sizes := {image.shape[:2] for image in images}) > 1:
            raise TrainingDataError(f"the augmented images of cameras {', '.join(cameras)} differ in size: {sizes}")
        return images

    def _augmentation(self, is_training: bool) -> Augmentation:
        if is_training not in self._augmentations:
            processor = self.processor
            transform = processor.train_image_transform if is_training else processor.eval_image_transform
            of_albumentations = processor.use_albumentations
            self._augmentations[is_training] = Augmentation(transform, of_albumentations=of_albumentations)
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
