"""image_size as users write it: 256, 320x180 or source; odd sizes name the nearest even ones."""

from typing import Any

import pytest

from millrace.engine.errors import RecipeError
from millrace.engine.planning.image_size import parse_image_size
from millrace.engine.planning.recipe import Recipe


@pytest.mark.parametrize(
    ("given", "kept", "size"),
    [
        (224, 224, (224, 224)),
        ("224", 224, (224, 224)),
        ("224x224", 224, (224, 224)),
        ("320x180", "320x180", (320, 180)),
        ("180X320", "180x320", (180, 320)),
        ("source", "source", None),
    ],
)
def test_a_size_is_a_side_or_width_by_height_or_the_sources_own(given: Any, kept: Any, size: Any) -> None:
    recipe = Recipe.single("data", robot="aloha", image_size=given)
    assert (recipe.image_size, parse_image_size(recipe.image_size)) == (kept, size)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            255,
            "255 is odd, and H.264 in 4:2:0 keeps one colour for two by two pixels; the nearest even sizes are 254 or ",
        ),
        ("321x181", "321x181 is odd, .*the nearest even sizes are 320x180 or 322x182"),
        ("320x181", "320x181 is odd, .*the nearest even sizes are 320x180 or 320x182"),
        ("17x16", "17x16 is odd, .*the nearest even sizes are 16 or 18x16"),
        (14, "sides of 16 to 4096 pixels can be made, not 14"),
        ("320x10000", "sides of 16 to 4096 pixels can be made, not 320x10000"),
        ("0x0", "sides of 16 to 4096"),
        (-2, "takes 256, width x height such as 320x180, or source, not -2"),
        ("big", "takes 256, width x height such as 320x180, or source, not 'big'"),
        ("320x", "takes 256"),
        ("320x180x3", "takes 256"),
        ("٣٢x16", "takes 256"),
        (True, "takes 256"),
        (None, "takes 256"),
        (2.5, "takes 256"),
    ],
)
def test_other_sizes_are_refused(given: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=f"^image_size: {told}"):
        Recipe.single("data", robot="aloha", image_size=given)


@pytest.mark.parametrize(("crop", "verb"), [("center", "crop"), ("pad", "pad")])
def test_own_sizes_have_nothing_to_crop_or_pad(crop: Any, verb: str) -> None:
    told = (
        f"^crop: image_size='source' keeps whole frames as they are, so that there is nothing to {verb}; leave it out"
    )
    with pytest.raises(RecipeError, match=told):
        Recipe.single("data", robot="aloha", image_size="source", crop=crop)
