"""A step's images are augmented as by GR00T: the same pixels, and the same random numbers drawn."""

import random
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

import albumentations
from loader_samples import IMAGE_AUGMENTATIONS, seed_all

from millrace.train.groot.augmentation import Augmentation
from millrace.train.image_batch import noise_image

ROTATED = {"random_rotation_angle": 12}
JITTERED = {"color_jitter_params": {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.1}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "whole image": {"crop_fraction": 1.0},
    "rotated": ROTATED,
    "jittered": JITTERED,
    "rotated and jittered": {**ROTATED, **JITTERED, "crop_fraction": 0.8},
}
# Height and width of each camera's images, first to last in time.
VIEWS = {
    "of the target's size": (((64, 64),), ((64, 64),)),
    "a history of three": (((64, 64),) * 3, ((64, 64),) * 3),
    "large and square": (((96, 96),) * 2,),
    "small and square": (((40, 40),), ((40, 40),)),
    "wide": (((48, 80),), ((48, 80),)),
    "high": (((80, 48),) * 2,),
    "square, then wide": (((64, 64),), ((48, 80),)),
    "wide, then square, then high": (((48, 80),), ((64, 64),), ((90, 60),)),
}


def transforms(**settings: Any) -> tuple[Any, Any]:
    """GR00T's, for training and for evaluation."""
    usual = {"random_rotation_angle": None, "color_jitter_params": None, "crop_fraction": 0.95}
    sizes = {"image_target_size": None, "image_crop_size": None, "shortest_image_edge": 64}
    build = IMAGE_AUGMENTATIONS.build_image_transformations_albumentations
    both: tuple[Any, Any] = build(**{**sizes, **usual, **settings})
    return both


def noise(sizes: Any, turn: int) -> list[Any]:
    return [[np.roll(noise_image(*size), turn + place, axis=1) for place, size in enumerate(view)] for view in sizes]


def augment_as_groot(transform: Any, views: Any) -> list[Any]:
    augmented, replay = [], None
    for view in views:
        tensors, replay = IMAGE_AUGMENTATIONS.apply_with_replay(transform, view, None, replay)
        augmented.append([tensor.permute(1, 2, 0).numpy() for tensor in tensors])
    return augmented


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("sizes", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_pixels_and_draws_are_gr00ts(settings: dict[str, Any], sizes: Any, is_training: bool) -> None:
    transform = transforms(**settings)[0 if is_training else 1]
    ours = Augmentation(transform, of_albumentations=True, upstream=IMAGE_AUGMENTATIONS)
    seed_all()
    expected = [augment_as_groot(transform, noise(sizes, turn)) for turn in range(4)]
    drawn = random.random(), np.random.random()
    seed_all()
    found = [ours(noise(sizes, turn)) for turn in range(4)]
    assert (random.random(), np.random.random()) == drawn
    for one, other in zip(expected, found, strict=True):
        for view, ours_of_it in zip(one, other, strict=True):
            assert all(map(np.array_equal, view, ours_of_it))
    assert ours.is_direct == {tuple((*size, 3) for view in sizes for size in view): True}, "the short way was taken"


def test_a_transform_that_is_not_gr00ts_is_applied_as_gr00t_does() -> None:
    """Nothing may be assumed about what it draws."""
    chain = albumentations.ReplayCompose([albumentations.GaussNoise(p=0.5), *transforms()[0].transforms])
    ours = Augmentation(chain, of_albumentations=True, upstream=IMAGE_AUGMENTATIONS)
    sizes = VIEWS["a history of three"]
    with pytest.warns(UserWarning, match="are augmented by albumentations' own replay"):
        ours(noise(sizes, 0))
    for turn in range(4):
        seed_all()
        expected = augment_as_groot(chain, noise(sizes, turn))
        seed_all()
        found = ours(noise(sizes, turn))
        for view, ours_of_it in zip(expected, found, strict=True):
            assert all(map(np.array_equal, view, ours_of_it))
    assert set(ours.is_direct.values()) == {False}
