"""A recipe is checked before anything is done, and says in one line which setting is wrong."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.engine.errors import RecipeError
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.sources import open_source
from millrace.engine.sources.selection import parse_selection
from support.synthetic import write_dataset


def recipe(**settings: Any) -> Recipe:
    return Recipe.single("data/aloha", **{"map": "aloha_to_gr1", **settings})


def test_the_defaults_are_those_of_the_guide() -> None:
    made = recipe()
    assert (made.fps, made.image_size, made.crop, made.resample, made.gop, made.chunks_size, made.horizon) == (
        Fraction(20),
        256,
        None,
        "nearest",
        10,
        1000,
        None,
    )


@pytest.mark.parametrize(
    ("text", "fps"),
    [("20", Fraction(20)), ("30000/1001", Fraction(30000, 1001)), (12.5, Fraction(25, 2)), ("source", "source")],
)
def test_any_rational_rate_may_be_asked_for(text: Any, fps: Any) -> None:
    assert recipe(fps=text).fps == fps


@pytest.mark.parametrize("fps", ["20", "30000/1001", "12.5", "source"])
def test_a_recipe_survives_json(fps: str) -> None:
    made = recipe(fps=fps, episodes="0:5", task="Pick.", cameras={"ego_view": "top"}, horizon=8)
    assert Recipe.model_validate_json(made.model_dump_json()) == made


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        recipe().fps = Fraction(30)


def test_an_opened_source_stands_for_its_folder(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(2,), cameras=())
    assert Recipe.single(open_source(tmp_path), robot="aloha") == Recipe.single(tmp_path, robot="aloha")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"fps": "fast"}, r"^fps: a frame rate is a number"),
        ({"fps": 0}, r"^fps: a frame rate lies above 0"),
        ({"fps": None}, r"^fps: a frame rate is a number"),
        ({"image_size": 255}, r"^image_size: 255 is odd"),
        ({"crop": "left"}, r"^crop: .*'center', 'pad' or 'none'"),
        ({"resample": "cubic"}, r"^resample: .*'nearest' or 'linspace'"),
        ({"gop": 0}, r"^gop: .*greater than or equal to 1"),
        ({"horizon": 0}, r"^horizon: .*greater than or equal to 1"),
        ({"chunks_size": 0}, r"^chunks_size: .*greater than or equal to 1"),
        (
            {"episodes": "first"},
            r"^episodes: episodes are given as A:B, A-B with both ends, or a list such as 0,3,10:20, not 'first'",
        ),
        ({"task": "  "}, r"^task: a task is a sentence, not an empty text"),
        (
            {"imagesize": 64},
            r"^'imagesize' is not a setting of a recipe\. Did you mean 'image_size'\? Known: ",
        ),
        ({"holdout": 1.5}, r"^holdout: a share of the episodes lies between 0 and 1"),
        ({"holdout": "5%"}, r"^holdout: a share of the episodes lies between 0 and 1, such as 0\.05 or 1/20, not '5%'"),
        ({"holdout": "1,x"}, r"^holdout: episodes are given as A:B"),
        ({"fps": "fast", "gop": 0}, r"fps: .*; gop: "),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told) as caught:
        recipe(**settings)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_recipe_needs_a_source() -> None:
    with pytest.raises(RecipeError, match="sources"):
        check_recipe({"sources": [], "robot": "gr1"})


def test_a_robot_alone_will_do() -> None:
    assert Recipe.single("data/aloha", robot="aloha").robot == "aloha"


@pytest.mark.parametrize("share", ["0.05", "1/20", 0.05])
def test_a_share_may_be_a_fraction(share: str | float) -> None:
    assert recipe(holdout=share).holdout == Fraction(1, 20)
    assert recipe(holdout=share).sources[0].holdout is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0:40", [slice(0, 40)]),
        (":3", [slice(None, 3)]),
        ("5:", [slice(5, None)]),
        (":", [slice(None, None)]),
        ("7", [7]),
        ("3,5,10:20", [3, 5, slice(10, 20)]),
        (" 3 , 5:6 ", [3, slice(5, 6)]),
    ],
)
def test_episodes_are_selected_by_range_or_list(text: str, parts: list[slice | int]) -> None:
    assert parse_selection(text) == parts


@given(indices=st.lists(st.integers(0, 10**6), min_size=1))
def test_any_list_of_episodes_is_read_back(indices: list[int]) -> None:
    assert parse_selection(",".join(map(str, indices))) == indices


@pytest.mark.parametrize("text", ["", ",", "1,", "1:2:3", "1-2-3", "-", "a:b", "1.5", "0x10", "²", "1 2"])
def test_other_selections_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="episodes are given as A:B"):
        parse_selection(text)
