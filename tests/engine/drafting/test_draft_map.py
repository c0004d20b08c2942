"""A drafted map loads, keeps the contract of shipped maps, and says what names do not tell."""

from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.embodiments import compile_map, load_map, load_robot, robot_names
from millrace.embodiments.robot import VECTORS
from millrace.engine.drafting.draft_map import MapDraft, draft_map
from millrace.engine.errors import RecipeError
from support.synthetic import write_dataset

# Their actions are steps of the hand, not targets of joints.
STEPS = {"franka_libero", "widowx_bridge", "r1pro_behavior"}


def draft(source: str, target: str) -> MapDraft:
    return draft_map(load_robot(source), load_robot(target), source_name=source, target_name=target)


@pytest.mark.parametrize("target", ["gr1", "unitree_g1", "g1_inspire", "aloha", "so101", "trossen_mobile"])
def test_a_draft_between_any_robots_loads_and_drives_something(target: str, tmp_path: Path) -> None:
    for source in robot_names():
        try:
            drafted = draft(source, target)
        except RecipeError:
            assert source in STEPS, source
            continue
        file = tmp_path / f"{source}.yaml"
        file.write_text(drafted.text, encoding="utf-8")
        loaded = load_map(file)
        assert loaded == drafted.map.model_copy(update={"description": loaded.description}), source
        assert loaded.name == f"{source}_to_{target.removeprefix('g1_')}"
        compiled = compile_map(loaded)
        assert all(len(getattr(compiled, vector).driven) for vector in VECTORS), source
        assert drafted.text.count("# CHECK") == drafted.num_doubts


def test_joints_of_the_same_name_are_reordered_without_a_doubt() -> None:
    text = draft("g1_arms", "unitree_g1").text
    assert "  left_arm: {reorder: left_arm}\n" in text
    assert "  right_arm: {reorder: right_arm}\n" in text


def test_what_names_do_not_tell_is_to_be_checked() -> None:
    text = draft("aloha", "gr1").text
    assert "left_arm: {copy: left_arm}  # CHECK: by position: left_waist, left_shoulder" in text
    assert "left_hand: {broadcast: left_gripper, rescale: {source: [0.0, 1.0], target: [[-1.5, 1.85]" in text
    assert "polarity and those of open and closed are not known" in text
    assert "left_leg: rest  # CHECK: nothing of aloha is alike" in text
    assert "right_arm: {copy: single_arm}  # CHECK: taken for 'single_arm', though" in draft("so101", "gr1").text


def test_units_that_differ_and_groups_that_could_be_meant_are_to_be_checked(tmp_path: Path) -> None:
    assert "units differ, degrees, or -100 to 100 into rad: add `rescale`" in draft("so101", "gr1").text
    (tmp_path / "mine.yaml").write_text(Path(load_path("aloha")).read_text().replace("right_gripper", "left_claw"))
    mine = load_robot(tmp_path / "mine.yaml")
    text = draft_map(mine, load_robot("gr1"), source_name="./mine.yaml", target_name="gr1").text
    assert "left_hand: {broadcast: left_gripper" in text
    assert "# CHECK: left_claw could be meant, too; ranges are" in text


def test_the_command_writes_a_file_that_maps_show_reads(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(Path(load_path("aloha")).read_text().replace("name: aloha", "name: mine", 1))
    assert main(["maps", "new", "--from", "mine.yaml", "--to", "gr1", "--out", "maps.yaml"]) == 0
    assert "millrace maps show maps.yaml" in capsys.readouterr().out
    assert load_map(tmp_path / "maps.yaml").source.name == "mine"
    assert main(["maps", "show", "maps.yaml"]) == 0
    assert main(["maps", "new", "--from", "mine.yaml", "--to", "gr1", "--out", "maps.yaml"]) == 2
    assert "maps.yaml exists" in capsys.readouterr().err


def load_path(name: str) -> Path:
    from millrace.embodiments.robot import ROBOTS

    return ROBOTS / f"{name}.yaml"


def test_a_dataset_stands_for_its_robot(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data", lengths=(3,))
    assert main(["maps", "new", "--from", "./data", "--to", "gr1"]) == 0
    assert load_map(tmp_path / "aloha_to_gr1.yaml").source == load_robot("aloha")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["new"], "maps new needs --from ROBOT or DATASET, and --to ROBOT"),
        (["new", "--from", "alhoa", "--to", "gr1"], "'alhoa' is not a robot or dataset. Did you mean 'aloha'?"),
        (["new", "--from", "aloha", "--to", "gr2"], "'gr2' is not a robot. Did you mean 'gr1'?"),
    ],
)
def test_what_is_missing_or_misspelt_is_said(words: list[str], told: str, capsys: Any) -> None:
    assert main(["maps", *words]) == 2
    assert told in capsys.readouterr().err
