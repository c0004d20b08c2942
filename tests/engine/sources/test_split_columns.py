"""States and actions that are split over columns, one for each part or for each joint, arrive in the robot's order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import convert_here, read_meta
from millrace.engine.errors import MillraceError
from support.synthetic import ALOHA_JOINTS, edit_json, write_dataset
from support.synthetic_check import assert_converted

LENGTHS = (12, 9, 11)
LAYOUTS: dict[str, dict[str, Any]] = {
    "v2.1": {"version": "v2.1"},
    "v3.0": {"version": "v3.0", "episodes_per_data_file": 2},
    "v3.0, cut through episodes": {"version": "v3.0", "rows_per_data_file": 10},
    "v1.6": {"version": "v1.6", "num_shards": 2},
    "the guide's tree": {"version": "hybrid"},
}
SIDES = ("left", "right")
ARM = {side: [joint for joint in ALOHA_JOINTS if joint.startswith(side)][:-1] for side in SIDES}
# Right before left and grippers first: neither the columns nor the joints of an arm stand in the robot's order.
PARTS: dict[str, Sequence[str]] = {
    f"{kind}.{side}_{part}": joints
    for kind in ("observation", "action")
    for side in SIDES[::-1]
    for part, joints in (("gripper", [f"{side}_gripper"]), ("arm", ARM[side][::-1]))
}
PARTS_ROBOT = f"""\
name: aloha_parts
groups:
  left_arm: {{joints: [{", ".join(ARM["left"])}], unit: rad}}
  left_gripper: {{joints: [left_gripper], unit: normalised}}
  right_arm: {{joints: [{", ".join(ARM["right"])}], unit: rad}}
  right_gripper: {{joints: [right_gripper], unit: normalised}}
state:
  observation.left_arm: [left_arm]
  observation.left_gripper: [left_gripper]
  observation.right_arm: [right_arm]
  observation.right_gripper: [right_gripper]
action:
  action.left_arm: [left_arm]
  action.left_gripper: [left_gripper]
  action.right_arm: [right_arm]
  action.right_gripper: [right_gripper]
cameras: [top]
"""
SCALARS: dict[str, Sequence[str]] = {
    f"{kind}.{joint}": [joint] for kind in ("observation", "action") for joint in ALOHA_JOINTS[::-1]
}


def scalar_robot() -> str:
    """A group and a column for each joint."""
    groups = [f"  {joint}: {{joints: [{joint}], unit: rad}}" for joint in ALOHA_JOINTS]
    state = [f"  observation.{joint}: [{joint}]" for joint in ALOHA_JOINTS]
    action = [f"  action.{joint}: [{joint}]" for joint in ALOHA_JOINTS]
    return "\n".join(
        ["name: aloha_scalars", "groups:", *groups, "state:", *state, "action:", *action, "cameras: [top]"]
    )


SCALARS_TO_ALOHA = f"""\
name: scalars_to_aloha
source: robot.yaml
target: aloha
cameras: {{top: top}}
groups:
  left_arm: {{reorder: [{", ".join(ARM["left"])}]}}
  left_gripper: {{reorder: left_gripper}}
  right_arm: {{reorder: [{", ".join(ARM["right"])}]}}
  right_gripper: {{reorder: right_gripper}}
"""


def places(columns: Mapping[str, Sequence[str]]) -> list[int]:
    """Where each joint of ALOHA stands among the source's known values."""
    stored = [joint for column, joints in columns.items() if column.startswith("observation") for joint in joints]
    return [stored.index(joint) for joint in ALOHA_JOINTS]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "robot.yaml").write_text(PARTS_ROBOT)
    return tmp_path / "robot.yaml"


@pytest.fixture
def scalars(tmp_path: Path) -> Path:
    (tmp_path / "robot.yaml").write_text(scalar_robot())
    (tmp_path / "map.yaml").write_text(SCALARS_TO_ALOHA)
    return tmp_path / "map.yaml"


# v1.6 of the Hub names no joints: those of one column then stand in the robot's order.
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "v1.6"])
def test_columns_of_parts_are_joined_by_name(layout: str, parts: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, parts=PARTS, **LAYOUTS[layout])
    convert_here(tmp_path / "source", tmp_path / "out", robot=str(parts), task="Pick.", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS, joints=places(PARTS))
    features = read_meta(tmp_path / "out", "info.json")["features"]
    assert features["observation.state"]["names"] == features["action"]["names"] == list(ALOHA_JOINTS)


def test_columns_of_parts_without_names_are_joined_by_position(parts: Path, tmp_path: Path) -> None:
    columns = {column: sorted(joints, key=ALOHA_JOINTS.index) for column, joints in PARTS.items()}
    write_dataset(tmp_path / "source", lengths=LENGTHS, parts=columns, **LAYOUTS["v1.6"])
    convert_here(tmp_path / "source", tmp_path / "out", robot=str(parts), task="Pick.", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS, joints=places(columns))


@pytest.mark.parametrize("names", ["flat", None])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scalar_columns_are_joined(layout: str, names: str | None, scalars: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, parts=SCALARS, names=names, **LAYOUTS[layout])
    convert_here(tmp_path / "source", tmp_path / "out", map=str(scalars), task="Pick.", horizon=4)
    assert_converted(tmp_path / "out", LENGTHS, joints=places(SCALARS))


@pytest.mark.parametrize("shape", [[], None])
def test_scalar_columns_may_have_no_shape(shape: list[int] | None, scalars: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS, parts=SCALARS)

    def reshape(info: dict[str, Any]) -> None:
        for column in SCALARS:
            info["features"][column] = {**info["features"][column], "shape": shape}

    edit_json(tmp_path / "source/meta/info.json", reshape)
    convert_here(tmp_path / "source", tmp_path / "out", map=str(scalars), horizon=4)
    assert_converted(tmp_path / "out", LENGTHS, joints=places(SCALARS))


def test_a_missing_part_is_named_with_the_columns_there_are(parts: Path, tmp_path: Path) -> None:
    columns = {column: joints for column, joints in PARTS.items() if column != "action.left_arm"}
    write_dataset(tmp_path / "source", lengths=LENGTHS, parts=columns)
    with pytest.raises(MillraceError, match=r"no column 'action\.left_arm' of joints.* Known: .*action\.right_arm"):
        convert_here(tmp_path / "source", tmp_path / "out", robot=str(parts), horizon=4)
