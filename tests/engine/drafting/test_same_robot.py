"""`--robot same`: the data keeps its robot, without a robot file."""

from pathlib import Path

import numpy as np
import pytest

from conftest import LOCAL, convert_here, matrix, read_meta, read_table
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_file import read_recipe
from support.synthetic import edit_json, write_dataset

NAMES = [f"servo_{number}" for number in range(14)]


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """A dataset of a robot that does not ship, of two cameras."""
    root = tmp_path / "rig"
    write_dataset(root, lengths=(22, 19), cameras=("left", "chest"))

    def rename(info: dict[str, object]) -> None:
        info["robot_type"] = "our_rig"
        for column in ("observation.state", "action"):
            info["features"][column]["names"] = NAMES  # type: ignore[index]

    edit_json(root / "meta/info.json", rename)
    return root


def test_rows_and_cameras_stay(unknown: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_here(unknown, out, robot="same", fps=25, horizon=4)
    info = read_meta(out, "info.json")
    assert info["robot_type"] == "our_rig"
    assert info["features"]["observation.state"]["names"] == NAMES
    assert {"observation.images.left", "observation.images.chest"} <= info["features"].keys()
    for column in ("observation.state", "action"):
        before = matrix(read_table(unknown, 0), column)[::2]
        np.testing.assert_array_equal(matrix(read_table(out, 0), column), before)


def test_the_same_command_finds_nothing_to_do(unknown: Path, tmp_path: Path) -> None:
    recipe = Recipe.single(unknown, robot="same", image_size=64, horizon=4)
    assert not convert(recipe, tmp_path / "out", workers=LOCAL).was_finished
    assert convert(recipe, tmp_path / "out", workers=LOCAL).was_finished


def test_datasets_of_one_robot_are_merged(unknown: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "robot: same\nimage_size: 64\nhorizon: 4\nsources:\n  - path: rig\n  - path: rig\n    episodes: 1\n"
    )
    plan = plan_conversion(read_recipe(file))
    assert [episode.num_frames for episode in plan.episodes] == [9, 8, 8]


def test_a_dataset_of_another_robot_is_refused(unknown: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "aloha", lengths=(22,))
    sources = [{"path": unknown}, {"path": tmp_path / "aloha"}]
    recipe = Recipe.model_validate({"robot": "same", "image_size": 64, "horizon": 4, "sources": sources})
    with pytest.raises(MillraceError, match="servo_0"):
        plan_conversion(recipe)


def test_what_is_guessed_of_actions_is_said(unknown: Path, tmp_path: Path) -> None:
    def rename(info: dict[str, object]) -> None:
        info["features"]["action"]["names"] = [f"{name}_velocity" for name in NAMES]  # type: ignore[index]

    edit_json(unknown / "meta/info.json", rename)
    notes = plan_conversion(Recipe.single(unknown, robot="same", image_size=64, horizon=4)).notes
    assert any("by their names, actions are taken" in note and "as velocity" in note for note in notes)
