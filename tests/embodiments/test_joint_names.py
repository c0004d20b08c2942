"""Names of joints in info.json are understood, or refused with a remedy; none that are there become a mere position."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.embodiments import Robot, load_robot, match_joints
from millrace.engine.errors import DatasetError
from millrace.engine.planning.joint_columns import ColumnMisfit, JointColumns, match_columns
from millrace.engine.sources import Feature, SourceDataset, open_source
from millrace.engine.sources.lerobot_metadata import FeatureInfo, flatten_names
from support.synthetic import ALOHA_JOINTS, write_dataset

ROBOT = """\
name: hand
groups:
  fingers: {joints: [joint_1_0, joint_10, thumb], unit: rad}
state: {observation.state: [fingers]}
action: {action: [fingers]}
"""


def feature(names: Any, *shape: int) -> Feature:
    return FeatureInfo(dtype="float32", shape=shape, names=names).to_feature("a")


def opened(tmp_path: Path, names: Any, **options: Any) -> SourceDataset:
    write_dataset(tmp_path / "source", lengths=(20,), cameras=(), names=names, **options)
    return open_source(tmp_path / "source")


def matched(tmp_path: Path, names: Any, more: str = "", **options: Any) -> JointColumns:
    """The small hand's state in a dataset of three joints with these names."""
    (tmp_path / "hand.yaml").write_text(ROBOT + more)
    dataset = opened(tmp_path, names, **{"state_width": 3, **options})
    return match_columns(dataset, load_robot(tmp_path / "hand.yaml"), "state")


@pytest.mark.parametrize(
    ("names", "understood"),
    [
        (["a", "b"], ("a", "b")),
        ([["a"], ["b"]], ("a", "b")),
        ({"motors": ["a", "b"]}, ("a", "b")),
        ({"left": ["a"], "right": ["b"]}, ("a", "b")),
        ({"b": 1, "a": 0}, ("a", "b")),
        ({"motors": {"b": 1, "a": 0}}, ("a", "b")),
        ({"b": "1", "a": "0"}, ("a", "b")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ([0, 1], ("0", "1")),
        (["a", ""], ("a", "")),
    ],
)
def test_names_of_these_forms_are_understood(names: Any, understood: tuple[str, ...]) -> None:
    assert flatten_names(names) == understood
    assert feature(names, 2).unread_names is None


def test_of_several_lists_of_names_the_one_that_fits_is_taken() -> None:
    names = {"components": ["joint.position", "effector.position"], "motors": ["left", "right", "gripper"]}
    assert feature(names, 3).names == ("left", "right", "gripper")
    assert feature(names, 2).names == ("joint.position", "effector.position")
    assert feature(names, 5).names == ("joint.position", "effector.position", "left", "right", "gripper")
    assert len(feature({"left": ["a", "b"], "right": ["c", "d"]}, 2).names or ()) == 4


@pytest.mark.parametrize("names", [None, [], {}, {"motors": []}, [None, None], ["", " "], {"motors": None}])
def test_no_names_are_none(names: Any) -> None:
    assert feature(names, 2).stated_names == ()


@pytest.mark.parametrize(
    "names",
    [
        {"arm": 7, "gripper": 1},
        {"a": 1, "b": 2},
        {"a": "1", "b": "2"},
        {"a": 0, "b": 0},
        {"arm": 0.5},
        {"a": True, "b": False},
        [["a", 0.5]],
        ["\ud800"],
        5.0,
    ],
)
def test_names_that_are_not_understood_are_kept_as_what_was_said(names: Any) -> None:
    found = feature(names, 2)
    assert found.names is None
    assert found.stated_names == (json.dumps(names),)


@given(order=st.permutations(range(14)))
def test_a_table_of_places_is_read_by_place(order: list[int]) -> None:
    table = {ALOHA_JOINTS[place]: place for place in order}
    assert flatten_names({"motors": table}) == ALOHA_JOINTS


def test_joints_in_a_table_of_places_are_found_by_name(tmp_path: Path) -> None:
    right_first = [*ALOHA_JOINTS[7:], *ALOHA_JOINTS[:7]]
    dataset = opened(tmp_path, {joint: place for place, joint in enumerate(right_first)})
    found = match_columns(dataset, load_robot("aloha"), "state")
    assert found.by == ("name",)
    np.testing.assert_array_equal(found.gather, [right_first.index(joint) for joint in ALOHA_JOINTS])


@pytest.mark.parametrize("names", [{joint: place + 1 for place, joint in enumerate(ALOHA_JOINTS)}, {"arms": 14}])
def test_names_that_are_not_understood_are_no_position(tmp_path: Path, names: Any) -> None:
    with pytest.raises(
        ColumnMisfit, match=r"its names are not understood: .*Expected a list of 14.*`millrace robots new`"
    ):
        match_columns(opened(tmp_path, names), load_robot("aloha"), "state")


@pytest.mark.parametrize(
    "names", [["gripper", "thumb", "gripper"], ["state"], ["arm", "gripper"], {"arm": 2, "gripper": 1}]
)
def test_a_robot_file_that_lists_such_names_takes_the_column_by_position(tmp_path: Path, names: Any) -> None:
    stated = list(feature(names, 3).stated_names)
    found = matched(tmp_path, names, f"column_names: {{observation.state: {json.dumps(stated)}}}\n")
    assert found.gather.tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [["gripper", "thumb", "gripper"], ["state"], {"arm": 2, "gripper": 1}])
def test_other_names_than_the_listed_ones_are_no_position(tmp_path: Path, names: Any) -> None:
    with pytest.raises(DatasetError):
        matched(tmp_path, names, "column_names: {observation.state: [arm, gripper]}\n")


def test_columns_whose_names_are_listed_are_columns_of_the_robot(tmp_path: Path) -> None:
    (tmp_path / "hand.yaml").write_text(ROBOT + "column_names: {state: [arm]}\n")
    with pytest.raises(Exception, match=r"hand\.yaml:6: 'state' is not a column of 'hand'"):
        load_robot(tmp_path / "hand.yaml")


def test_joints_that_are_spelt_alike_are_found_as_they_are_written(tmp_path: Path) -> None:
    assert matched(tmp_path, ["thumb", "joint_10", "joint_1_0"]).gather.tolist() == [2, 1, 0]


def test_a_spelling_of_two_joints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'Joint10' could be 'joint_1_0' or 'joint_10'"):
        matched(tmp_path, ["thumb", "Joint10", "other"])


def test_a_name_that_stands_twice_only_matters_where_it_is_needed() -> None:
    found = match_joints(["pad", "a", "pad"], ["a"], width=3, aliases={})
    assert found.gather.tolist() == [1]


@pytest.mark.parametrize(
    ("state", "action"), [("state", "actions"), ("observation.qpos", "action"), ("qpos", "actions")]
)
def test_state_and_action_are_found_under_their_other_usual_names(tmp_path: Path, state: str, action: str) -> None:
    parts = {state: ALOHA_JOINTS, action: ALOHA_JOINTS}
    dataset, robot = opened(tmp_path, "motors", parts=parts), load_robot("aloha")
    assert match_columns(dataset, robot, "state").columns == (state,)
    assert match_columns(dataset, robot, "action").columns == (action,)


def test_a_camera_is_not_listed_among_columns_of_joints(tmp_path: Path) -> None:
    dataset = opened(tmp_path, "motors", parts={"action": ALOHA_JOINTS, "observation.pose": ["x"]})
    features = {**dataset.features, "observation.state": Feature("video", (8, 8, 3), None)}
    dataset = SourceDataset(**{**vars(dataset), "features": features})
    with pytest.raises(
        DatasetError, match=r"no column 'observation\.state' of joints.*Known: action, observation\.pose"
    ):
        match_columns(dataset, load_robot("aloha"), "state")


def test_lists_of_lists_have_as_many_joints_as_values(tmp_path: Path) -> None:
    dataset = opened(tmp_path, None)
    features = {**dataset.features, "observation.state": Feature("float32", (2, 7), None)}
    dataset = SourceDataset(**{**vars(dataset), "features": features})
    robot: Robot = load_robot("aloha")
    assert match_columns(dataset, robot, "state").widths == (14,)
