"""Which robot a dataset is of, how sure that is, and which map `convert` may take unasked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace.engine.errors import RecipeError
from millrace.engine.planning.robot_guess import Confidence, guess_map, guess_robot
from millrace.engine.sources import SourceDataset, open_source
from support.g1_sources import COLUMNS, GRIPPERS, LEFT_ARM, RIGHT_ARM
from support.synthetic import write_dataset


def opened(root: Path, parts: dict[str, Sequence[str]] | None, **options: Any) -> SourceDataset:
    write_dataset(root, **{"lengths": (20,), "cameras": (), "robot_type": None, "parts": parts, **options})
    return open_source(root)


@pytest.mark.parametrize("robot", COLUMNS)
def test_each_source_is_told_by_its_names(tmp_path: Path, robot: str) -> None:
    guess = guess_robot(opened(tmp_path, COLUMNS[robot]))
    assert (guess.name, guess.confidence) == (robot, "certain")
    assert guess.reason.startswith("all ")
    assert f"joints of '{robot}' by name in " in guess.reason
    assert guess.maps == (f"{robot}_to_inspire", f"{robot}_to_unitree_g1")


def test_a_part_of_a_larger_robot_is_not_taken_for_the_smaller(tmp_path: Path) -> None:
    """The three-fingered robot's 43 joints hold all 28 of the Dex3's."""
    assert guess_robot(opened(tmp_path, COLUMNS["g1_trifinger"])).reason.startswith("all 43 joints of 'g1_trifinger'")


@pytest.mark.parametrize(
    ("stranger", "confidence", "says"),
    [
        ("kNeckYaw", "likely", "; kNeckYaw there are no joints of it"),
        (None, "weak", "width 16 fits 'g1_dex1', names are anonymous"),
    ],
)
def test_what_is_not_certain_says_why(tmp_path: Path, stranger: str | None, confidence: Confidence, says: str) -> None:
    if stranger is None:
        dataset = opened(tmp_path, None, names=None, state_width=16)
    else:
        joints = [*LEFT_ARM, *RIGHT_ARM, *GRIPPERS, stranger]
        dataset = opened(tmp_path, {"observation.state": joints, "action": joints})
    guess = guess_robot(dataset)
    assert (guess.name, guess.confidence) == ("g1_dex1", confidence)
    assert says in guess.reason
    with pytest.raises(
        RecipeError,
        match=r"name a map, map=NAME, for its robot is not certain .*Maps from 'g1_dex1': g1_dex1_to_inspire, ",
    ):
        guess_map(dataset)


@pytest.mark.parametrize("robot", COLUMNS)
@pytest.mark.parametrize("target", ["g1_inspire", "unitree_g1"])
def test_the_only_map_between_two_robots_is_taken(tmp_path: Path, robot: str, target: str) -> None:
    guess = guess_map(opened(tmp_path, COLUMNS[robot]), target)
    assert guess.map == f"{robot}_to_{target.removeprefix('g1_')}"
    assert guess.reason.endswith(f"; no other map leads from '{robot}' to '{target}'")


def test_a_dataset_of_the_target_needs_no_map(tmp_path: Path) -> None:
    guess = guess_map(opened(tmp_path, COLUMNS["g1_dex3"]), "g1_dex3")
    assert (guess.map, guess.reason) == (None, "the dataset is of 'g1_dex3' itself")


def test_several_maps_are_listed_not_chosen_from(tmp_path: Path) -> None:
    dataset = opened(tmp_path, COLUMNS["g1_dex3"])
    with pytest.raises(
        RecipeError, match="several maps lead from 'g1_dex3': g1_dex3_to_inspire, g1_dex3_to_unitree_g1"
    ):
        guess_map(dataset)


def test_a_target_that_no_map_reaches_is_an_error(tmp_path: Path) -> None:
    dataset = opened(tmp_path, COLUMNS["g1_dex3"])
    with pytest.raises(RecipeError, match="no map leads from 'g1_dex3' to 'gr1': g1_dex3_to_inspire, g1_dex3_to_"):
        guess_map(dataset, "gr1")


def test_an_unknown_robot_names_no_map(tmp_path: Path) -> None:
    dataset = opened(tmp_path, None, state_width=5)
    with pytest.raises(RecipeError, match=r"no shipped robot fits.*Draft a robot file: `millrace robots new --from "):
        guess_map(dataset)
