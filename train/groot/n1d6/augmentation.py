"""GR00T N1.6's augmentation of a step's images without albumentations' copies: the same pixels, the same random draws.

Albumentations builds its chain of transforms again for every image that repeats another's augmentation (of a step all
but the first). Here the transforms themselves are called, by the same parameters.
"""

import pickle
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from albumentations import ColorJitter, Compose, ReplayCompose, Rotate, SmallestMaxSize
from gr00t.model.gr00t_n1d6.image_augmentations import (
    FractionalCenterCrop,
    FractionalRandomCrop,
    LetterBoxPad,
    apply_with_replay,
)
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Views = Sequence[Sequence[Image]]
TRANSFORMS = (LetterBoxPad, SmallestMaxSize, FractionalRandomCrop, FractionalCenterCrop, Rotate, ColorJitter)


class Augmentation:
    """One of the processor's two transforms, that for training or that for evaluation.

    The short way is taken for images of shapes for which it gave GR00T's pixels and left GR00T's random state.
    `is_direct` says which.

    Args:
        transform: GR00T's, of albumentations or torchvision.
        of_albumentations: Which of the two.
    """

    def __init__(self, transform: Any, *, of_albumentations: bool) -> None:
        self.transform, self.of_albumentations = transform, of_albumentations
        self.is_direct: dict[tuple[tuple[int, ...], ...], bool] = {}

    def __call__(self, views: Views) -> list[list[Image]]:
        """A step's images by camera, (H, W, 3) each, augmented alike."""
        shapes = tuple(image.shape for view in views for image in view)
        if shapes not in self.is_direct:
            self.is_direct[shapes] = self._has_known_parts() and self._compare(views)
            if self.of_albumentations and not self.is_direct[shapes]:
                warnings.warn(f"images of {shapes} are augmented by albumentations' own replay", stacklevel=2)
        return self._apply_directly(views) if self.is_direct[shapes] else self._apply_as_groot(views)

    def _has_known_parts(self) -> bool:
        chain = self.transform
        if not self.of_albumentations or type(chain) not in (Compose, ReplayCompose):
            return False
        return all(type(part) in TRANSFORMS and part.p >= 1.0 for part in chain.transforms)

    def _compare(self, views: Views) -> bool:
        before = _random_state()
        expected, after = self._apply_as_groot(views), _random_state()
        _set_random_state(before)
        found, after_ours = self._apply_directly(views), _random_state()
        _set_random_state(before)
        same_draws = pickle.dumps(after) == pickle.dumps(after_ours)
        return same_draws and all(
            np.array_equal(image, other)
            for view, others in zip(expected, found, strict=True)
            for image, other in zip(view, others, strict=True)
        )

    def _apply_as_groot(self, views: Views) -> list[list[Image]]:
        augmented, replay = [], None
        for view in views:
            if self.of_albumentations:
                tensors, replay = apply_with_replay(self.transform, view, None, replay)
            else:
                tensors = [self.transform(image) for image in view]
            augmented.append([tensor.permute(1, 2, 0).numpy() for tensor in tensors])
        return augmented

    def _apply_directly(self, views: Views) -> list[list[Image]]:
        replays = type(self.transform) is ReplayCompose
        augmented, drawn = [], None
        for view in views:
            images = []
            for image in view:
                if drawn is None:
                    random.random()  # by which albumentations decides on the chain as a whole
                changed, values = self._apply_to_image(image, drawn)
                images.append(changed)
                drawn = values if replays else None
            augmented.append(images)
        return augmented

    def _apply_to_image(self, image: Image, drawn: list[dict[str, Any]] | None) -> tuple[Image, list[dict[str, Any]]]:
        """The image through all transforms, and their parameters, which are drawn where none are given."""
        used = []
        for place, part in enumerate(self.transform.transforms):
            values = _draw(part, image) if drawn is None else drawn[place]
            used.append(values)
            image = part.apply(image, **part.update_params(dict(values), image=image))
        return image, used


def _draw(part: Any, image: Image) -> dict[str, Any]:
    values = part.update_params_shape(params=part.get_params(), data={"image": image})
    return {**values, **part.get_params_dependent_on_data(params=values, data={"image": image})}


def _random_state() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_random_state(state: tuple[Any, Any]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
