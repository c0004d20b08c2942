"""GR00T's augmentation of a step's images without albumentations' copies: the same pixels, the same random draws.

Albumentations builds its chain of transforms again for every image that repeats another's augmentation (of a step all
but the first). Here the transforms themselves are called, by the same parameters.
"""

import random
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from albumentations import ColorJitter, Compose, ReplayCompose, Rotate, SmallestMaxSize
from numpy.typing import NDArray

from millrace.train.fallbacks import warn_fallback
from millrace.train.groot.random_state import is_random_state, random_state, set_random_state

Image = NDArray[np.uint8]
Views = Sequence[Sequence[Image]]
TRANSFORMS = (SmallestMaxSize, Rotate, ColorJitter)
GROOTS_TRANSFORMS = ("LetterBoxPad", "FractionalRandomCrop", "FractionalCenterCrop")


class Augmentation:
    """One of the processor's two transforms, that for training or that for evaluation.

    The short way is taken for images of shapes for which it gave GR00T's pixels and left GR00T's random state.
    `is_direct` says which.

    Args:
        transform: GR00T's, of albumentations or torchvision.
        of_albumentations: Which of the two.
        upstream: GR00T's module image_augmentations, of the release that the transform is of.
    """

    def __init__(self, transform: Any, *, of_albumentations: bool, upstream: ModuleType) -> None:
        self.transform, self.of_albumentations = transform, of_albumentations
        # A module cannot be sent to a loader process; what is in it can.
        self._apply_with_replay = upstream.apply_with_replay
        self._known = *TRANSFORMS, *(getattr(upstream, name) for name in GROOTS_TRANSFORMS)
        self.is_direct: dict[tuple[tuple[int, ...], ...], bool] = {}

    def __call__(self, views: Views) -> list[list[Image]]:
        """A step's images by camera, (H, W, 3) each, augmented alike."""
        shapes = tuple(image.shape for view in views for image in view)
        if shapes not in self.is_direct:
            self.is_direct[shapes] = self._has_known_parts() and self._compare(views)
            if self.of_albumentations and not self.is_direct[shapes]:
                warn_fallback(f"images of {shapes} are augmented by albumentations' own replay")
        return self._apply_directly(views) if self.is_direct[shapes] else self._apply_as_groot(views)

    def _has_known_parts(self) -> bool:
        chain = self.transform
        if not self.of_albumentations or type(chain) not in (Compose, ReplayCompose):
            return False
        return all(type(part) in self._known and part.p >= 1.0 for part in chain.transforms)

    def _compare(self, views: Views) -> bool:
        before = random_state()
        expected, after = self._apply_as_groot(views), random_state()
        set_random_state(before)
        found = self._apply_directly(views)
        same_draws = is_random_state(after)
        set_random_state(before)
        return same_draws and all(
            np.array_equal(image, other)
            for view, others in zip(expected, found, strict=True)
            for image, other in zip(view, others, strict=True)
        )

    def _apply_as_groot(self, views: Views) -> list[list[Image]]:
        augmented, replay = [], None
        for view in views:
            if self.of_albumentations:
                tensors, replay = self._apply_with_replay(self.transform, view, None, replay)
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
