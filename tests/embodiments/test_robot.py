"""What a robot file promises, and how a dataset's joints are found in it."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.embodiments import (
    JointMismatch,
    MillraceError,
    Robot,
    RobotError,
    UnknownName,
    load_robot,
    match_joints,
    unknown_name,
)

ROBOT = """\
name: arm
groups:
  arm:
    joints: [base, wrist]
    unit: rad
    rest: [0.5, -1]
    action: relative
  hand:
    joints: [finger]
    unit: m
  speed:
    joints: [forward, turn]
    unit: m/s
state:
  observation.arm: [arm]
  observation.hand: [hand]
action:
  action: [speed, hand, arm]
aliases:
  base: [kBase, Joint1]
cameras: [top]
"""
ALOHA = [
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in (
        "waist",
        "shoulder",
        "elbow",
        "forearm_roll",
        "wrist_angle",
        "wrist_rotate",
        "gripper",
    )
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "arm.yaml"


def load(path: Path, text: str = ROBOT) -> Robot:
    path.write_text(text, encoding="utf-8")
    return load_robot(str(path))


def test_layout_follows_the_file(path: Path) -> None:
    robot = load(path)
    state, action = robot.layout("state"), robot.layout("action")
    assert state.columns == {"observation.arm": ("base", "wrist"), "observation.hand": ("finger",)}
    assert state.slices == {"arm": slice(0, 2), "hand": slice(2, 3)}
    assert action.joints == ("forward", "turn", "finger", "base", "wrist")
    assert action.slices == {"speed": slice(0, 2), "hand": slice(2, 3), "arm": slice(3, 5)}
    assert (state.width, action.width, robot.horizon) == (3, 5, 16)
    np.testing.assert_array_equal(action.rest, np.array([0, 0, 0, 0.5, -1], np.float32))
    assert action.rest.dtype == np.float32


def test_a_robot_cannot_be_changed_and_can_be_pickled(path: Path) -> None:
    robot = load(path)
    with pytest.raises(ValueError, match="frozen"):
        robot.name = "leg"
    assert pickle.loads(pickle.dumps(robot)) == robot


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("unit: m\n", "unti: m\n", 10, "'unti' is not a field of JointGroup. Did you mean 'unit'?"),
        ("    unit: m\n", "", 8, "groups.hand.unit is missing"),
        ("[finger]", "[]", 9, "at least 1 item"),
        (
            "[finger]",
            "finger",
            9,
            "groups.hand.joints: Input should be a valid tuple, got 'finger'",
        ),
        ("[base, wrist]", "[base, base]", 4, "joint 'base' stands twice in one group"),
        ("rest: [0.5, -1]", "rest: [0.5]", None, ""),
        ("rest: [0.5, -1]", "rest: [0.5, 1, 2]", 6, "rest has 3 values for 2 joints"),
        ("rest: [0.5, -1]", "rest: .nan", 6, "finite number"),
        ("rest: [0.5, -1]", "rest: true", 6, "valid number, got True"),
        ("rest: [0.5, -1]", "rest: 1e-3", None, ""),
        (
            "    unit: m/s\n",
            "    unit: m/s\n    action_joints: [turn]\n",
            14,
            "action_joints must be the joints in another order, got turn",
        ),
        (
            "    action: relative\n",
            "    action: relative\n    action_joints: [wrist, base]\n",
            8,
            "an action relative to the state has the state's order",
        ),
        ("cameras: [top]", "column_aliases: {actions: [a]}", 21, "'actions' is not a column of 'arm'. Did you mean"),
        ("cameras: [top]", "by_position: 1", 21, "valid boolean, got 1"),
        ("action: relative", "action: delta", 7, "'absolute' or 'relative', got 'delta'"),
        ("  hand:\n", "  9-hand!:\n", 8, "should match pattern"),
        ("[speed, hand, arm]", "[speed, hnad, arm]", 18, "Did you mean 'hand'? Known: arm, hand"),
        ("[speed, hand, arm]", "[speed, hand, hand]", 17, "group 'hand' stands twice in the act"),
        ("[forward, turn]", "[forward, finger]", 17, "joint 'finger' stands twice in the action"),
        ("[speed, hand, arm]", "[hand, arm]", 11, "'speed' is in neither the state nor the action"),
        (
            "unit: m/s\n",
            "unit: m/s\n    action: relative\n",
            14,
            "relative to its state, which the",
        ),
        (
            "  base: [kBase",
            "  bass: [kBase",
            20,
            "'bass' is not a joint of 'arm'. Did you mean 'base'?",
        ),
        (
            "[kBase, Joint1]",
            "[WRIST.pos]",
            20,
            "'wrist' could be 'base' or 'wrist' in 'observation",
        ),
        ("[kBase, Joint1]", "[turn]", 20, "'turn' could be 'turn' or 'base' in 'action'"),
        ("cameras: [top]", "cameras: [top, top]", 21, "camera 'top' stands twice"),
        ("cameras: [top]", "cameras: [../top]", 21, "should match pattern"),
        ("cameras: [top]", "horizon: 0", 21, "greater than 0"),
        ("cameras: [top]", "horizon: true", 21, "valid integer"),
        ("cameras: [top]", "name: leg", 21, "'name' is named twice (first on line 1)"),
        ("cameras: [top]", "cameras: &c [top]\nx: *c", 22, "aliases (*name) are not allowed"),
        ("cameras: [top]", "cameras: [top", 21, "expected ',' or ']'"),
        ("cameras: [top]", "on: 1", 21, "'on' is not a name; put it in quotes"),
        ("cameras: [top]", "cameras: !!python/name:os.system x", 21, "could not determine"),
        ("cameras: [top]", "cameras: !!set {top}", 21, "tag:yaml.org,2002:set is not allowed"),
    ],
)
def test_a_wrong_field_is_cited_with_its_line(path: Path, was: str, becomes: str, line: int | None, says: str) -> None:
    assert was in ROBOT
    text = ROBOT.replace(was, becomes)
    if line is None:
        load(path, text)
        return
    with pytest.raises(RobotError) as caught:
        load(path, text)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert says in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", ":1: the file must hold a mapping"),
        (b"- a", ":1: the file must hold a mapping"),
        (b"\xff\xfe\xff", ": not YAML"),
        (b"a: 2020-99-99", ": not YAML"),
        (b"[" * 50_000, ": nested too deeply"),
        (b"#" * 1_000_001, ": over 1000000 bytes"),
        (b"a: 1\n---\nb: 1", ":2: but found another document"),
    ],
)
def test_what_is_no_robot_file_is_refused(path: Path, data: bytes, says: str) -> None:
    path.write_bytes(data)
    with pytest.raises(RobotError) as caught:
        load_robot(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(RobotError, match="No such file"):
        load_robot(path)


def test_an_unknown_robot_brings_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        load_robot("alhoa")
    assert "Did you mean 'aloha'? Known: aloha, " in str(caught.value)
    assert str(caught.value).endswith("Or give the path of a .yaml file.")


def test_unknown_name_suggests_the_nearest() -> None:
    problem = unknown_name("left_hnd", "joint group of 'gr1'", ["left_arm", "left_hand"])
    assert str(problem) == (
        "'left_hnd' is not a joint group of 'gr1'. Did you mean 'left_hand'? Known: left_arm, left_hand"
    )
    assert isinstance(problem, MillraceError)
    assert problem.exit_code == 2


@given(order=st.permutations(range(len(ALOHA))))
def test_another_order_is_reordered_by_name(order: list[int]) -> None:
    names = [ALOHA[i] for i in order]
    match = match_joints(names, ALOHA, width=len(names), aliases={})
    assert match.by == "name"
    assert [names[column] for column in match.gather] == ALOHA


@pytest.mark.parametrize(
    "names",
    [
        ["kBase", "wrist"],
        ["BASE", "Wrist"],
        ["base.pos", "wrist.pos"],
        ["joint1.q", "wrist.q"],
        [" base ", "wrist"],
    ],
)
def test_names_match_by_alias_in_any_case_and_with_lerobots_suffix(names: list[str]) -> None:
    match = match_joints(names, ["wrist", "base"], width=2, aliases={"base": ("kBase", "Joint1")})
    assert (match.gather.tolist(), match.by) == ([1, 0], "name")


def test_a_joints_own_name_goes_before_its_aliases() -> None:
    match = match_joints(["foot", "base"], ["base"], width=2, aliases={"base": ("foot",)})
    assert match.gather.tolist() == [1]


@pytest.mark.parametrize(
    "name", ["kLeftElbow", "left_elbow", "left_elbow_joint", "LEFT_ELBOW_JOINT", "leftElbow.q", "left_elbow_joint.pos"]
)
def test_one_joint_is_written_in_many_ways(name: str) -> None:
    assert match_joints([name, "wrist"], ["left_elbow"], width=2, aliases={}).gather.tolist() == [0]


@pytest.mark.parametrize("name", ["right_elbow", "left_elbow.vel", "kleft_elbow", "left_elbow_joint_0", "left_elbow2"])
def test_another_joint_is_not_taken_for_it(name: str) -> None:
    with pytest.raises(JointMismatch, match="it lacks every joint"):
        match_joints([name, "wrist"], ["left_elbow"], width=2, aliases={})


def test_the_position_may_be_refused() -> None:
    with pytest.raises(
        JointMismatch, match="it names no joints, and this robot's datasets come in more than one order"
    ):
        match_joints(None, ["a", "b"], width=2, aliases={}, by_position=False)
    assert match_joints(["b", "a"], ["a", "b"], width=2, aliases={}, by_position=False).by == "name"


def test_the_action_may_order_a_groups_joints_otherwise(path: Path) -> None:
    robot = load(path, ROBOT.replace("    action: relative\n", "    action_joints: [wrist, base]\n"))
    assert robot.layout("state").joints == ("base", "wrist", "finger")
    assert robot.layout("action").joints == ("forward", "turn", "finger", "wrist", "base")
    assert robot.layout("action").rest.tolist() == [0, 0, 0, -1, 0.5]


def test_a_column_is_found_by_its_other_names(path: Path) -> None:
    robot = load(path, ROBOT.replace("cameras: [top]", "column_aliases: {action: [action.action, actions]}"))
    assert robot.find_column("action", ["actions", "action"]) == "action"
    assert robot.find_column("action", ["actions", "action.action"]) == "action.action"
    assert robot.find_column("action", ["observation.arm"]) is None
    assert robot.find_column("observation.arm", ["observation.arm"]) == "observation.arm"


def test_velocities_are_not_positions() -> None:
    names = ["base.vel", "base.pos", "wrist.vel", "wrist.pos"]
    match = match_joints(names, ["base", "wrist"], width=4, aliases={})
    assert match.gather.tolist() == [1, 3]
    with pytest.raises(JointMismatch):
        match_joints(["base.vel", "wrist.vel"], ["base", "wrist"], width=2, aliases={})


@pytest.mark.parametrize(
    "names",
    [None, [], ["motor_0", "motor_1", "motor_2"], ["joint1", "joint2", "joint3"], ["0", "1", "2"]],
)
def test_without_names_joints_are_taken_by_position(names: list[str] | None) -> None:
    match = match_joints(names, ["a", "b", "c"], width=3, aliases={})
    assert (match.gather.tolist(), match.by) == ([0, 1, 2], "position")
    assert match.gather.dtype == np.int64


@pytest.mark.parametrize(
    ("names", "width", "says"),
    [
        (None, 4, "by position, 4 columns cannot be 3 joints"),
        (["motor_0", "motor_1"], 2, "by position, 2 columns cannot be 3 joints"),
        (["motor_0", "motor_2", "motor_1"], 3, "it lacks every joint"),
        (["a", "b"], 2, "it lacks c"),
        (["a", "b", "d"], 3, "it lacks c"),
        (["a", "b", "c", "c"], 4, "it names 'c' twice"),
        (["a", "b", "C", "c.pos"], 4, "it names 'c' twice"),
        (["a", "b", "c"], 4, "3 names for a vector of 4"),
        (["a", "b", "x", "y"], 4, "it names 'c' twice"),
    ],
)
def test_joints_that_do_not_fit_are_shown_beside_the_robots(names: list[str] | None, width: int, says: str) -> None:
    with pytest.raises(JointMismatch) as caught:
        match_joints(names, ["a", "b", "c"], width=width, aliases={"c": ("x", "y")})
    message = str(caught.value)
    assert says in message
    assert "Robot: a, b, c." in message
    assert "\n" not in message
    assert f"Source: {', '.join(names) if names else 'no names'}." in message
    assert caught.value.exit_code == 1
