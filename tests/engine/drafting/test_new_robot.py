"""`millrace robots` and `maps` list what ships; a drafted robot file converts the dataset that it was drafted from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import IMAGE_SIZE, matrix, read_table
from millrace import cli
from millrace.embodiments import load_robot, map_names, robot_names
from millrace.engine.drafting.draft_robot import draft_robot
from millrace.engine.errors import DatasetError
from millrace.engine.sources import open_source
from millrace.engine.validate import validate
from support.g1_sources import COLUMNS
from support.synthetic import expected_action, expected_state, write_dataset

ARMS = {
    "observation.left_arm": ["shoulder", "elbow", "gripper"],
    "observation.right_arm": ["shoulder", "elbow", "gripper"],
    "action.left_arm": ["shoulder", "elbow", "gripper"],
    "action.right_arm": ["shoulder", "elbow", "gripper"],
}


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(("command", "names"), [("robots", robot_names()), ("maps", map_names())])
def test_what_ships_is_listed(command: str, names: Sequence[str], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert run(command) == 0
    shown = capsys.readouterr().out.split()
    assert set(names) <= set(shown)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"names": None, "state_width": 9, "robot_type": None},
        {"names": {"motors": [f"motor_{i}" for i in range(14)]}},
        {"version": "v3.0", "state_width": 9, "action_width": 7},
        {"version": "v1.6", "cameras": ("left", "right")},
        {"parts": ARMS},
        *({"parts": columns} for columns in COLUMNS.values()),
    ],
    ids=["aloha", "unnamed", "counted", "widths", "v1", "same names", *COLUMNS],
)
def test_a_drafted_robot_converts_its_dataset(tmp_path: Path, options: dict[str, Any]) -> None:
    source, out, robot = tmp_path / "source", tmp_path / "out", tmp_path / "mine.yaml"
    write_dataset(source, lengths=(41,), **options)
    assert run("robots", "new", "--from", source, "--out", robot) == 0
    flags = ["--robot", robot, "--image-size", IMAGE_SIZE, "--task", "Move.", "--task-all", "--local"]
    assert run("convert", source, out, *flags) == 0
    assert validate(out).is_valid
    assert set(load_robot(robot).cameras) == set(options.get("cameras", ("top",)))


def test_every_joint_of_the_drafted_robot_is_the_sources(tmp_path: Path) -> None:
    source, out, robot = tmp_path / "source", tmp_path / "out", tmp_path / "mine.yaml"
    write_dataset(source, lengths=(41,), fps=20, cameras=(), parts=ARMS)
    run("robots", "new", "--from", source, "--out", robot)
    assert run("convert", source, out, "--robot", robot, "--local") == 0
    rows = read_table(out, 0)
    np.testing.assert_array_equal(matrix(rows, "observation.state"), expected_state(0, range(41), 6))
    np.testing.assert_array_equal(matrix(rows, "action"), expected_action(0, range(41), 6))


def test_limbs_become_groups(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(41,))
    (tmp_path / "mine.yaml").write_text(draft_robot(open_source(tmp_path)).text)
    robot = load_robot(tmp_path / "mine.yaml")
    assert robot.groups_of("state") == ("left_arm", "left_hand", "right_arm", "right_hand")
    assert robot.groups_of("action") == robot.groups_of("state")
    assert robot.groups["left_hand"].joints == ("left_gripper",)


def test_the_text_says_what_to_look_at(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(41,), names=None, state_width=3)
    text = draft_robot(open_source(tmp_path)).text
    assert f"millrace convert {tmp_path} OUT --robot" in text
    assert "[joint_0, joint_1, joint_2]\n    # CHECK: the dataset names none" in text
    assert "unit: rad  # CHECK" in text


def test_a_dataset_without_joints_is_an_error(tmp_path: Path) -> None:
    write_dataset(tmp_path, lengths=(41,), parts={"observation.arm": ["a"], "torque": ["a"]})
    with pytest.raises(DatasetError, match=r"neither a column 'action' nor any 'action\.\*'.*Known: .*torque"):
        draft_robot(open_source(tmp_path))


def test_no_file_is_overwritten(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    assert run("robots", "new", "--from", aloha, "--out", tmp_path / "mine.yaml") == 2
    assert "mine.yaml exists" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "mine"


def test_a_new_robot_needs_a_dataset(capsys: Any) -> None:
    assert run("robots", "new") == 2
    assert capsys.readouterr().err == "robots new needs --from DATASET\n"
