"""What `robots new` drafts, `convert` accepts, whatever a dataset's columns, names and cameras are called."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import convert_here, matrix, read_meta, read_table
from millrace import cli
from millrace.embodiments import load_robot
from millrace.embodiments.robot import VECTORS
from millrace.engine.convert import plan_conversion
from millrace.engine.drafting.draft_robot import draft_robot
from millrace.engine.errors import DatasetError
from millrace.engine.planning.joint_columns import match_columns
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import Feature, SourceDataset, open_source
from millrace.engine.sources.lerobot_metadata import FeatureInfo
from support.small_tables import Column, write_table
from support.synthetic import write_dataset

LIBERO = ["x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3", "gripper", "gripper"]
SO101 = ["shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos"]
PANDA = {"axes": [f"joint_{number}" for number in range(7)]}
POSE = {"axes": ["x", "y", "z", "roll", "pitch", "yaw"]}
# Features as public datasets list them, without their cameras: any4lerobot's LIBERO and Bridge, openpi's LIBERO,
# DROID, AgiBot World, BEHAVIOR-1K, SO-100 before and after LeRobot 0.2, and kinds of them.
DATASETS: dict[str, dict[str, Column]] = {
    "libero": {
        "observation.state": Column([8], {"motors": LIBERO}),
        "action": Column([7], {"motors": LIBERO[:7]}),
    },
    "openpi libero": {"state": Column([8], ["state"]), "actions": Column([7], ["actions"])},
    "droid": {
        "observation.state.joint_position": Column([7], PANDA, "float64"),
        "observation.state.cartesian_position": Column([6], POSE, "float64"),
        "observation.state.gripper_position": Column([1], {"axes": ["gripper"]}, "float64"),
        "action.joint_velocity": Column([7], PANDA, "float64"),
        "action.gripper_position": Column([1], {"axes": ["gripper"]}, "float64"),
        "is_first": Column([1], None, "bool"),
    },
    "agibot": {
        "observation.states.joint.position": Column([14]),
        "observation.states.effector.position": Column([2]),
        "observation.states.end.orientation": Column([2, 4]),
        "actions.joint.position": Column([14]),
        "actions.effector.position": Column([2]),
        "actions.end.orientation": Column([2, 4]),
    },
    "behavior": {"observation.state": Column([256]), "action": Column([23])},
    "so100": {
        "observation.state": Column([6], [f"main_{name.removesuffix('.pos')}" for name in SO101]),
        "action": Column([6], [f"main_{name.removesuffix('.pos')}" for name in SO101]),
    },
    "so101": {"observation.state": Column([6], SO101), "action": Column([6], SO101)},
    "bridge": {
        "observation.state": Column([8], {"motors": ["x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"]}),
        "action": Column([7], {"motors": ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]}),
    },
    "vectors by ending": {
        "joint.state": Column([7], [*[f"motor_{number}" for number in range(6)], "gripper"]),
        "joint.action": Column([7], [*[f"motor_{number}" for number in range(6)], "gripper"]),
        "end.state": Column([7], ["x", "y", "z", "dx", "dy", "dz", "gripper"]),
        "end.action": Column([7], ["x", "y", "z", "dx", "dy", "dz", "gripper"]),
    },
    "truth values": {
        "observation.arm": Column([3], ["a", "b", "c"]),
        "observation.gripper": Column([1], None, "bool"),
        "action.arm": Column([3], ["a", "b", "c"]),
        "action.gripper": Column([1], None, "int64"),
    },
    "labels": {"observation.state": Column([8], ["arm", "gripper"]), "action": Column([8], {"arm": 7, "gripper": 1})},
    "lists of lists": {"observation.state": Column([2, 7], ["arm", "joint"]), "action": Column([2, 7])},
    "alike": {
        "observation.state": Column([4], ["joint_1_0", "joint_10", "Joint_1_1", "joint_11"]),
        "action": Column([4], ["joint_11", "joint_10", "Joint_1_1", "joint_1_0"]),
    },
    "odd names": {
        "observation.state": Column([6], ["", "a 'b'", '"c"', "1e3", "no", "肘部\n"]),
        "qpos": Column([1]),
        "actions": Column([6], ["", "a 'b'", '"c"', "1e3", "no", "肘部\n"]),
    },
}


@pytest.mark.parametrize("kind", DATASETS)
def test_every_value_of_a_drafted_robot_is_the_sources(tmp_path: Path, kind: str) -> None:
    columns, source, robot = DATASETS[kind], tmp_path / "source", tmp_path / "mine.yaml"
    write_table(source, columns)
    assert run("robots", "new", "--from", source, "--out", robot) == 0
    convert_here(source, tmp_path / "out", robot=str(robot))
    rows = read_table(tmp_path / "out", 0)
    for vector, column in (("state", "observation.state"), ("action", "action")):
        names = [name for name in columns if name in robot_columns(robot, vector)]
        expected = [columns[name].values(list(columns).index(name)).astype(np.float32) for name in names]
        np.testing.assert_array_equal(matrix(rows, column), np.concatenate(expected, axis=1))


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def robot_columns(robot: Path, vector: str) -> list[str]:
    return list(load_robot(robot).layout("state" if vector == "state" else "action").columns)


NAME = st.one_of(
    st.sampled_from(["arm", "gripper", "gripper", "left_elbow", "kLeftElbow", "joint_1", "joint_1_0", "joint_10", ""]),
    st.text(max_size=6),
)


@st.composite
def columns(draw: st.DrawFn) -> Feature:
    """A column of numbers with names of any kind."""
    shape = draw(st.sampled_from([(), (1,), (2,), (3,), (6,), (2, 3), (2, 1, 2)]))
    width = int(np.prod(shape))
    names = draw(
        st.one_of(
            st.none(),
            st.just([f"motor_{number}" for number in range(width)]),
            st.lists(NAME, min_size=width, max_size=width),
            st.lists(NAME, max_size=3),
            st.fixed_dictionaries({"motors": st.lists(NAME, min_size=width, max_size=width)}),
            st.dictionaries(NAME, st.integers(0, 3), max_size=4),
        )
    )
    dtype = draw(st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]))
    return FeatureInfo(dtype=dtype, shape=shape, names=names).to_feature("a")


SETS = {
    "whole": ("observation.state", "action"),
    "renamed": ("state", "actions", "qpos"),
    "parts": ("observation.left_arm", "observation.left.hand", "observation.肘", "action.left_arm", "action.0"),
    "parts of states": ("observation.states.a.position", "observation.states.b.position", "actions.a.position"),
    "slashes": ("observation/state", "action/arm", "action/hand", "other"),
}
CAMERA = st.one_of(
    st.sampled_from(["top", "observation.images.top", "observation.image", "image", "头部"]), st.text(max_size=5)
)


@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(sorted(SETS)), cameras=st.lists(CAMERA, max_size=3, unique=True))
def test_what_is_drafted_is_accepted(data: st.DataObject, kind: str, cameras: list[str]) -> None:
    features: dict[str, Feature] = {name: data.draw(columns()) for name in SETS[kind]}
    features |= {name: Feature("video", (48, 64, 3), None) for name in cameras if name not in features}
    dataset = SourceDataset(Path("data") / "mine", "LeRobot", 20, None, features, {}, [])  # type: ignore[arg-type]
    draft = draft_robot(dataset)
    for vector in VECTORS:
        found = match_columns(dataset, draft.robot, vector)
        assert len(set(found.gather.tolist())) == len(found.gather) == draft.robot.layout(vector).width
    for camera in draft.robot.cameras:
        assert draft.robot.find_camera(camera, dataset.cameras) is not None


def drafted(tmp_path: Path, columns: dict[str, Column]) -> Any:
    write_table(tmp_path / "source", columns)
    return draft_robot(open_source(tmp_path / "source"))


def test_what_a_draft_leaves_out_is_said(tmp_path: Path, capsys: Any) -> None:
    columns = {"observation.state": Column([2]), "action": Column([2]), "observation.force": Column([3])}
    write_table(tmp_path / "source", columns)
    assert run("robots", "new", "--from", tmp_path / "source", "--out", tmp_path / "mine.yaml") == 0
    said = "columns of numbers that are no part of it: observation.force"
    assert f"left out: {said}\n" in capsys.readouterr().out
    assert f"# Skipped: {said}\n" in (tmp_path / "mine.yaml").read_text()


def test_whether_there_is_a_picture_is_no_joint(tmp_path: Path) -> None:
    seen = {"observation.images.top_available": Column([1], None, "bool")}
    draft = drafted(tmp_path, {"observation.arm": Column([2]), "action.arm": Column([2]), **seen})
    assert list(draft.robot.state) == ["observation.arm"]
    assert "observation.images.top_available" in "; ".join(draft.skipped)


def test_inspect_proposes_no_command_that_fails(tmp_path: Path) -> None:
    write_table(tmp_path / "source", {"processed_velocity": Column([8]), "action": Column([8])})
    guess = guess_robot(open_source(tmp_path / "source"))
    assert guess.commands == ()
    assert "none can be drafted" in guess.reason
    assert "Known: processed_velocity, action" in guess.reason


def test_nothing_is_written_where_no_robot_can_be_drafted(tmp_path: Path, capsys: Any) -> None:
    write_table(tmp_path / "source", {"observation.state": Column([2]), "force": Column([3])})
    assert run("robots", "new", "--from", tmp_path / "source", "--out", tmp_path / "mine.yaml") == 1
    assert "neither a column 'action' nor any 'action.*' of numbers" in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("low", "high", "name", "unit", "seen"),
    [
        (-1.2, 2.5, "left_elbow", "rad", "seen -1.2 to 2.5"),
        (-90, 100, "shoulder_pan.pos", "degrees or LeRobot's -100 to 100", "seen -90 to 100, which are no radians"),
        (-170, 170, "elbow", "degrees", "seen -170 to 170, which are no radians"),
        (0, 2000, "elbow", "unknown", "seen 0 to 2e+03, which are no radians"),
        (0, 1, "left_gripper", "normalised, 0 to 1", "seen 0 to 1"),
    ],
)
def test_the_unit_is_what_the_values_allow(
    tmp_path: Path, monkeypatch: Any, low: float, high: float, name: str, unit: str, seen: str
) -> None:
    monkeypatch.setattr(Column, "values", lambda self, seed: np.linspace(low, high, 18, dtype=np.float32)[:, None])
    draft = drafted(tmp_path, {"observation.state": Column([1], [name]), "action": Column([1], [name])})
    assert f"    unit: {unit}  # CHECK: {seen}\n" in draft.text


MODALITY = {
    "state": {"single_arm": {"start": 0, "end": 5}, "gripper": {"start": 5, "end": 6}},
    "action": {"single_arm": {"start": 0, "end": 5}, "gripper": {"start": 5, "end": 6}},
    "video": {"wrist": {"original_key": "observation.images.phone"}},
}


def with_modality(tmp_path: Path, modality: Any) -> SourceDataset:
    write_dataset(tmp_path, lengths=(18,), fps=20, cameras=("phone",), state_width=6, names=None)
    (tmp_path / "meta/modality.json").write_text(json.dumps(modality))
    return open_source(tmp_path)


def test_the_datasets_own_modality_names_groups_and_cameras(tmp_path: Path) -> None:
    robot = draft_robot(with_modality(tmp_path, MODALITY)).robot
    groups = {name: len(group.joints) for name, group in robot.groups.items()}
    assert groups == {"single_arm": 5, "gripper": 1}
    assert (robot.cameras, robot.camera_aliases) == (("wrist",), {"wrist": ("phone",)})


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"arm": {"start": 0, "end": 7}}, r"'arm' is \[0, 7\) of 'observation.state', which has 6 values"),
        ({"body": {"start": 0, "end": 6}, "arm": {"start": 2, "end": 4}}, "'arm' overlaps another group"),
        ({"arm": {}}, "its groups are not taken"),
    ],
)
def test_a_modality_that_does_not_fit_is_said_and_not_taken(tmp_path: Path, state: Any, why: str) -> None:
    draft = draft_robot(with_modality(tmp_path, {**MODALITY, "state": state}))
    assert "arm" not in draft.robot.groups
    assert re.search(why, "; ".join(draft.skipped))


def test_only_the_cameras_that_a_robot_file_lists_are_converted(tmp_path: Path) -> None:
    source, robot = tmp_path / "source", tmp_path / "mine.yaml"
    write_dataset(source, lengths=(18,), fps=20, cameras=("front", "头部"))
    assert run("robots", "new", "--from", source, "--out", robot) == 0
    assert load_robot(robot).cameras == ("front", "camera")
    robot.write_text(robot.read_text().replace("cameras: [front, camera]", "cameras: [camera]"))
    summary = convert_here(source, tmp_path / "out", robot=str(robot))
    assert "observation.images.front" in summary.dropped
    assert [name for name in read_meta(tmp_path / "out", "info.json")["features"] if "images" in name] == [
        "observation.images.camera"
    ]


def test_a_robot_file_that_lists_none_of_the_cameras_is_noted(tmp_path: Path) -> None:
    source, robot = tmp_path / "source", tmp_path / "mine.yaml"
    write_dataset(source, lengths=(18,), fps=20, cameras=("front",))
    text = draft_robot(open_source(source)).text
    robot.write_text(text.replace("cameras: [front]", "cameras: []"))
    note = r"none of its cameras \('front'\) is converted, and GR00T does not train without video"
    recipe = Recipe.single(source, robot=str(robot), fps="source")
    assert re.search(note, "; ".join(plan_conversion(recipe).notes))
    robot.write_text(text)
    assert not re.search(note, "; ".join(plan_conversion(recipe).notes))


def test_a_listed_camera_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    source, robot = tmp_path / "source", tmp_path / "mine.yaml"
    write_dataset(source, lengths=(18,), fps=20, cameras=("front",))
    text = draft_robot(open_source(source)).text
    robot.write_text(text.replace("cameras: [front]", "cameras: [front, wrist]"))
    with pytest.raises(DatasetError, match=r"'wrist' is not a camera of .*lists it under `cameras:`; delete it there"):
        convert_here(source, tmp_path / "out", robot=str(robot))
