"""What a map promises: the right joint in the right column, and errors that say where."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embodiments import (
    CompiledMap,
    EmbodimentMap,
    JointMap,
    MapError,
    Robot,
    UnknownName,
    compile_map,
    identity_map,
    load_map,
    load_robot,
)
from embodiments.robot import VECTORS, Vector
from embodiments.rules import Broadcast, Constant, Copy, JointTable, Rule

SOURCE = """\
name: source
groups:
  arm: {joints: [a1, a2, a3], unit: rad}
  hand: {joints: [thumb, index], unit: rad}
  gripper: {joints: [grip], unit: normalised}
  waist: {joints: [yaw, pitch, roll], unit: rad}
state: {observation.state: [arm, hand, gripper, waist]}
action: {action: [waist, gripper, arm]}
aliases: {a1: [one], index: [pointer]}
cameras: [top, wrist]
"""
TARGET = """\
name: target
groups:
  leg: {joints: [hip, knee], unit: rad, rest: [0.25, -0.5]}
  arm: {joints: [b1, b2, b3, b4], unit: rad, rest: 0.125, action: relative}
  hand: {joints: [pointer, thumb], unit: rad}
  waist: {joints: [yaw, roll, pitch], unit: rad}
  speed: {joints: [forward], unit: m/s}
state: {observation.state: [leg, arm, hand, waist]}
action: {action: [speed, waist, arm, leg, hand]}
cameras: [ego_view]
"""
MAP = """\
name: try
source: ./source.yaml
target: target.yaml
cameras: {ego_view: top}
groups:
  leg: rest
  arm: {copy: arm}
  hand: {reorder: [hand, gripper]}
  waist: {reorder: waist}
  speed: rest
action:
  leg: hold
  hand: {broadcast: gripper, rescale: {source: [0, 2], target: [-1, 1], polarity: inverted}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source.yaml").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "target.yaml").write_text(TARGET, encoding="utf-8")
    return tmp_path


def compiled(folder: Path, text: str = MAP) -> CompiledMap:
    (folder / "map.yaml").write_text(text, encoding="utf-8")
    return compile_map(load_map(folder / "map.yaml"))


def frames(width: int, num_frames: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(num_frames, width)).astype(np.float32)


def test_each_rule_drives_its_group(folder: Path) -> None:
    state, action = frames(9), frames(7)
    mapped_state, mapped_action = compiled(folder).apply(state, action)
    a1, a2, a3, thumb, index, _, yaw, pitch, roll = state.T
    quarter, half, rest = (np.full(5, value, np.float32) for value in (0.25, -0.5, 0.125))
    expected = [quarter, half, a1, a2, a3, rest, index, thumb, yaw, roll, pitch]
    np.testing.assert_array_equal(mapped_state, np.stack(expected, axis=1))
    yaw, pitch, roll, grip, a1, a2, a3 = action.T
    still, hand = np.zeros(5, np.float32), 1 - grip
    expected = [still, yaw, roll, pitch, a1, a2, a3, rest, quarter, half, hand, hand]
    np.testing.assert_allclose(mapped_action, np.stack(expected, axis=1), atol=1e-6)
    assert mapped_state.dtype == mapped_action.dtype == np.dtype(np.float32)


def test_hold_repeats_the_observed_state(folder: Path) -> None:
    text = MAP.replace("hand: {broadcast", "waist: hold\n  arm: hold\n  hand: {broadcast")
    made = compiled(folder, text)
    state, action = made.apply(frames(9), frames(7))
    of_state, of_action = made.target.layout("state"), made.target.layout("action")
    for group in ("leg", "waist", "arm"):
        np.testing.assert_array_equal(action[:, of_action.slices[group]], state[:, of_state.slices[group]])


def test_padding_is_not_trained_unless_the_map_names_it(folder: Path) -> None:
    made = compiled(folder)
    # leg is held, but its state only rests; speed rests.
    assert made.trained_state == ("arm", "hand", "waist")
    assert made.trained_action == ("waist", "arm", "hand")
    assert made.trained == ("arm", "hand", "waist")
    named = compiled(folder, MAP + "also_train: [leg, speed]\n")
    assert named.trained_state == ("leg", "arm", "hand", "waist")
    assert named.trained_action == ("speed", "waist", "arm", "leg", "hand")


def test_a_held_group_trains_where_its_state_is_driven(folder: Path) -> None:
    made = compiled(folder, MAP.replace("action:\n", "action:\n  waist: hold\n"))
    assert "waist" in made.trained_action


def test_a_group_whose_action_rests_trains_its_state_only(folder: Path) -> None:
    made = compiled(folder, MAP.replace("action:\n", "action:\n  waist: rest\n"))
    assert "waist" in made.trained_state
    assert "waist" not in made.trained_action


def test_groups_that_drive_nothing_are_reported(folder: Path) -> None:
    assert compiled(folder).unused == ()
    assert compiled(folder, MAP.replace("reorder: waist", "copy: arm")).unused == ("waist",)
    held = MAP.replace("  waist: {reorder: waist}", "  waist: rest").replace("leg: hold", "leg: hold\n  waist: hold")
    assert compiled(folder, held).unused == ("waist",)


def test_one_joint_of_a_wider_group_can_be_broadcast(folder: Path) -> None:
    made = compiled(folder, MAP.replace("{reorder: [hand, gripper]}", "{broadcast: index}"))
    state, _ = made.apply(frames(9), frames(7))
    index = frames(9).T[4]
    np.testing.assert_array_equal(state[:, made.target.layout("state").slices["hand"]].T, [index] * 2)


TABLE = "{joints: {b3: grip, b1: a1}, rescale: {source: [0, 1], target: [[2, 4], [0, 1]]}}"


def test_a_table_names_joint_by_joint_and_the_others_rest(folder: Path) -> None:
    made = compiled(folder, MAP.replace("{copy: arm}", TABLE))
    state, _ = made.apply(frames(9), frames(7))
    rest = np.full(5, 0.125, np.float32)
    a1, grip = frames(9).T[[0, 5]]
    arm = state[:, made.target.layout("state").slices["arm"]].T
    np.testing.assert_allclose(arm, [a1, rest, 2 * grip + 2, rest], atol=1e-6)


def test_joints_that_a_table_leaves_out_may_hold_the_state(folder: Path) -> None:
    made = compiled(folder, MAP.replace("action:\n", f"action:\n  arm: {TABLE[:-1]}, others: hold}}\n"))
    state, action = made.apply(frames(9), frames(7))
    _, b2, _, b4 = state[:, made.target.layout("state").slices["arm"]].T
    grip, a1 = frames(7).T[[3, 4]]
    arm = action[:, made.target.layout("action").slices["arm"]].T
    np.testing.assert_allclose(arm, [a1, b2, 2 * grip + 2, b4], atol=1e-6)


def test_what_some_groups_lack_holds_the_state(folder: Path) -> None:
    made = compiled(folder, MAP.replace("action:\n", "action:\n  arm: {reorder: waist, others: hold}\n"))
    state, action = made.apply(frames(9), frames(7))
    observed = state[:, made.target.layout("state").slices["arm"]]
    np.testing.assert_array_equal(action[:, made.target.layout("action").slices["arm"]], observed)


def test_a_map_may_rest_at_values_of_its_own(folder: Path) -> None:
    made = compiled(
        folder, MAP.replace("  speed: rest", "  speed: {rest: 0.5}").replace("leg: rest", "leg: {rest: [1, 2]}")
    )
    state, action = made.apply(frames(9), frames(7))
    np.testing.assert_array_equal(state[:, made.target.layout("state").slices["leg"]], [[1, 2]] * 5)
    np.testing.assert_array_equal(action[:, made.target.layout("action").slices["speed"]], [[0.5]] * 5)
    assert "speed" not in made.trained_action


def test_a_group_orders_its_joints_otherwise_in_the_action(folder: Path) -> None:
    for name, order in (("source", "[pitch, roll, yaw]"), ("target", "[roll, yaw, pitch]")):
        path = folder / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("  waist: {", f"  waist: {{action_joints: {order}, "), encoding="utf-8")
    made = compiled(folder)
    assert made.source.layout("action").joints[:3] == ("pitch", "roll", "yaw")
    state, action = made.apply(frames(9), frames(7))
    yaw, pitch, roll = frames(9).T[6:]
    np.testing.assert_array_equal(state[:, made.target.layout("state").slices["waist"]].T, [yaw, roll, pitch])
    pitch, roll, yaw = frames(7).T[:3]
    np.testing.assert_array_equal(action[:, made.target.layout("action").slices["waist"]].T, [roll, yaw, pitch])


UNDEFINED = MAP.replace("  speed: rest", "  speed: {undefined: nobody knows how fast}")


def test_what_a_map_leaves_undefined_must_be_said(folder: Path) -> None:
    with pytest.raises(
        MapError, match=r"map 'try' leaves undefined .* 'target' become: speed \(nobody knows how fast\)"
    ):
        compiled(folder, UNDEFINED)
    said = load_map(folder / "map.yaml").with_rules({"speed": Constant(rest=(2.0,))})
    _, action = compile_map(said).apply(frames(9), frames(7))
    np.testing.assert_array_equal(action[:, said.target.layout("action").slices["speed"]], [[2]] * 5)


def test_a_users_rule_goes_before_the_maps_in_state_and_action(folder: Path) -> None:
    (folder / "map.yaml").write_text(MAP, encoding="utf-8")
    own = load_map(folder / "map.yaml").with_rules({"hand": "rest"})
    mapped = compile_map(own).apply(frames(9), frames(7))
    for values, vector in zip(mapped, VECTORS, strict=True):
        np.testing.assert_array_equal(values[:, own.target.layout(vector).slices["hand"]], np.zeros((5, 2)))
    assert "hand" in compile_map(load_map(folder / "map.yaml")).trained


def test_a_users_wrong_rule_is_named(folder: Path) -> None:
    (folder / "map.yaml").write_text(MAP, encoding="utf-8")
    ours = load_map(folder / "map.yaml")
    with pytest.raises(MapError, match=r"rules for map 'try', groups\.hnd: 'hnd' is not .* Did you mean 'hand'\?"):
        ours.with_rules({"hnd": "rest"})
    with pytest.raises(MapError, match=r"groups\.hand\.joints\.thumb: 'tumb' is not a joint in the state"):
        ours.with_rules({"hand": JointTable(joints={"thumb": "tumb"})})


def test_ranges_can_be_given_joint_by_joint_and_be_constant(folder: Path) -> None:
    rescale = "{source: [0, 1], target: [[0, 10], [3, 3]]}"
    text = MAP.replace("{reorder: [hand, gripper]}", f"{{broadcast: grip, rescale: {rescale}}}")
    made = compiled(folder, text)
    state = frames(9)
    grip = made.source.layout("state").joints.index("grip")
    state[:3, grip] = 0, 1, np.nan
    mapped, _ = made.apply(state, frames(7))
    pointer, thumb = mapped[:3, made.target.layout("state").slices["hand"]].T
    np.testing.assert_array_equal(pointer, [0, 10, np.nan])
    np.testing.assert_array_equal(thumb, [3, 3, 3])


@pytest.mark.parametrize(("polarity", "low", "middle", "high"), [("same", -1, 0, 1), ("inverted", 1, 0, -1)])
def test_rescale_reaches_both_ends_of_the_range(
    folder: Path, polarity: str, low: float, middle: float, high: float
) -> None:
    made = compiled(folder, MAP.replace("polarity: inverted", f"polarity: {polarity}"))
    action = frames(7, 3)
    action[:, made.source.layout("action").joints.index("grip")] = 0, 1, 2
    _, mapped = made.apply(frames(9, 3), action)
    hand = mapped[:, made.target.layout("action").slices["hand"]]
    np.testing.assert_array_equal(hand.T, [[low, middle, high]] * 2)


def test_nan_joint_stays_in_its_column(folder: Path) -> None:
    made = compiled(folder)
    for column, joint in enumerate(made.source.layout("state").joints):
        state = frames(9)
        state[2, column] = np.nan
        mapped, action = made.apply(state, frames(7))
        bad = {made.target.layout("state").joints[i] for i in np.flatnonzero(np.isnan(mapped[2]))}
        other = {"a1": "b1", "a2": "b2", "a3": "b3", "index": "pointer", "grip": None}
        assert bad == {other.get(joint, joint)} - {None}
        assert np.isnan(mapped).sum() == len(bad)
        assert not np.isnan(action).any()


def test_identity_is_bit_exact() -> None:
    made = compile_map(identity_map(load_robot("aloha")))
    bits = np.random.default_rng(1).integers(0, 2**32, size=(64, 14), dtype=np.uint32)
    bits.flat[:3] = 0x80000000, 0x7FC00001, 0x00000001  # -0.0, a NaN with a payload, a subnormal
    values = bits.view(np.float32)
    for mapped in made.apply(values, values):
        np.testing.assert_array_equal(mapped.view(np.uint32), bits)


def test_compiled_maps_can_be_compared_and_pickled(folder: Path) -> None:
    made, other = compiled(folder), compiled(folder, MAP.replace("[0, 2]", "[0, 3]"))
    assert pickle.loads(pickle.dumps(made)) == made == compiled(folder)
    assert made != other
    assert made.state == other.state
    assert made.action != other.action
    assert made.state != "a map"


def test_an_episode_of_another_shape_is_refused(folder: Path) -> None:
    made = compiled(folder)
    for state, action in ((10, 7), (9, 8)):
        with pytest.raises(ValueError, match=r"\(5, 9\), \(5, 7\)"):
            made.apply(frames(state), frames(action))
    with pytest.raises(ValueError, match=r"got \[\(5, 9\), \(4, 7\)\]"):
        made.apply(frames(9), frames(7, 4))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("gather", [0], r"gather \(1,\), driven \(2,\), scale \(2,\), offset \(2,\), rest \(3,\)"),
        ("rest", [[0.0]], r"rest \(1, 1\)"),
        ("driven", [1, 1], "distinct columns"),
        ("driven", [1, 3], r"columns of \[0, 3\)"),
        ("gather", [0, -1], "columns from 0"),
    ],
)
def test_a_joint_map_checks_its_shapes(field: str, value: list[float], says: str) -> None:
    fields: dict[str, object] = {"gather": [0, 1], "driven": [0, 2], "scale": [1, 1], "offset": [0, 0]}
    fields |= {"rest": [0, 0, 0], field: value}
    with pytest.raises(ValueError, match=says):
        JointMap(**{name: np.array(value) for name, value in fields.items()})


def test_a_source_too_narrow_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"D at least 9, got \(5, 8\)"):
        compiled(folder).state(frames(8))


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("  leg: rest\n", "", 5, "leg of 'target' has no rule"),
        (
            "  leg: rest\n",
            "  leg: rest\n  leg: hold\n",
            7,
            "'leg' is named twice (first on line 6)",
        ),
        (
            "  leg: rest\n",
            "  legs: rest\n",
            6,
            "'legs' is not a joint group of 'target'. Did you mea",
        ),
        ("  leg: rest\n", "  leg: hold\n", 6, "`hold` is for actions; move the rule of 'leg'"),
        ("  leg: rest\n", "  leg: relax\n", 6, "one rule is needed"),
        ("  leg: rest\n", "  leg: {copy: arm, reorder: arm}\n", 6, "one rule is needed"),
        ("  leg: rest\n", "  leg:\n", 6, "one rule is needed"),
        (
            "  leg: rest\n",
            "  leg: {copy: arm}\n",
            6,
            "'arm' of 'source' has 3 joints, 'leg' of 'target'",
        ),
        (
            "{copy: arm}",
            "\n    copy: amr",
            8,
            "'amr' is not a joint group of 'source'. Did you mean",
        ),
        ("{copy: arm}", "{copy: hand}", 7, "the action of 'source' lacks 'hand'; under `action:`"),
        ("{copy: arm}", "{copy: arm, rescael: 1}", 7, "'rescael' is not a field of Copy. Did you"),
        (
            "{copy: arm}",
            "{reorder: arm}",
            7,
            "no joint is called 'b1' in arm of 'source': [a1, a2, a3",
        ),
        (
            "{copy: arm}",
            "{broadcast: arm}",
            7,
            "has 3 joints; name the one to broadcast: a1, a2, a3",
        ),
        (
            "{copy: arm}",
            "{broadcast: a9}",
            7,
            "'a9' is not a joint or joint group in the state of 'source'. Known: arm",
        ),
        ("{copy: arm}", "{reorder: arm, others: hold}", 7, "`hold` is for actions; move the rule of 'arm'"),
        ("{copy: arm}", "{joints: {b9: a1}}", 7, "'b9' is not a joint in 'arm' of 'target'. Known: b1, b2"),
        ("{copy: arm}", "{joints: {b1: a9}}", 7, "'a9' is not a joint in the state of 'source'. Known: a1, a2"),
        ("{copy: arm}", "{joints: {b1: thumb}}", 7, "'thumb' is not a joint in the action of 'source'"),
        ("{copy: arm}", "{joints: {}}", 7, "at least 1 item"),
        ("{copy: arm}", "{joints: {b1: a1}, others: relax}", 7, "'rest' or 'hold', got 'relax'"),
        (
            "{copy: arm}",
            "{joints: {b1: a1}, rescale: {source: [0, 1], target: [[0, 1], [0, 1]]}}",
            7,
            "rescale has 2 target ranges for 1 joints: b1",
        ),
        ("  leg: rest\n", "  leg: {rest: [1, 2, 3]}\n", 6, "rest has 3 values for 2 joints"),
        ("speed: rest", "speed: hold", 10, "`hold` needs 'forward' in the state of 'target'"),
        (
            "action:\n",
            "action:\n  arms: rest\n",
            12,
            "'arms' is not a joint group of 'target' in its a",
        ),
        (
            "action:\n",
            "state:\n  speed: rest\naction:\n",
            12,
            "'speed' is not a joint group of 'target'",
        ),
        (
            "action:\n",
            "state: {arm: rest}\naction:\n",
            7,
            "the action of 'arm' is relative to its state",
        ),
        ("action:\n", "also_train: [arm, lag]\naction:\n", 11, "'lag' is not a joint group"),
        ("source: [0, 2]", "source: [2, 2]", 13, "source range [2, 2] must rise"),
        ("source: [0, 2]", "source: [0, .inf]", 13, "finite number"),
        ("source: [0, 2]", "source: [0]", 13, "action.hand.rescale.source"),
        ("target: [-1, 1]", "target: [1, -1]", 13, "target range [1, -1] falls"),
        ("target: [-1, 1]", "target: [[0, 1], [0, 1], [0, 1]]", 13, "3 target ranges for 2 joints"),
        ("polarity: inverted", "polarity: reversed", 13, "'same' or 'inverted', got 'reversed'"),
        ("{ego_view: top}", "{ego: top}", 4, "'ego' is not a camera of 'target'"),
        (
            "{ego_view: top}",
            "\n  ego_view: tip",
            5,
            "'tip' is not a camera of 'source'. Did you mean",
        ),
        (
            "source: ./source.yaml",
            "source: alhoa",
            2,
            "'alhoa' is not a robot. Did you mean 'aloha'?",
        ),
        ("source: ./source.yaml", "source: [aloha]", 2, "source must be a robot's name or file"),
        ("source: ./source.yaml\n", "", 1, "source is missing"),
        ("name: try", "name: 'a\"b'", 1, "should match pattern"),
    ],
)
def test_a_wrong_rule_is_cited_with_its_line(folder: Path, was: str, becomes: str, line: int, says: str) -> None:
    assert was in MAP
    with pytest.raises(MapError) as caught:
        compiled(folder, MAP.replace(was, becomes, 1))
    message = str(caught.value)
    assert message.startswith(f"{folder / 'map.yaml'}:{line}: ")
    assert says in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_a_map_that_drives_nothing_is_refused(folder: Path) -> None:
    rules = "".join(f"  {group}: rest\n" for group in ("leg", "arm", "hand", "waist", "speed"))
    with pytest.raises(MapError, match=r"map\.yaml:5: no rule drives the state of 'target'"):
        compiled(folder, MAP[: MAP.index("  leg")] + rules)


def test_two_joints_for_one_name_are_refused(folder: Path) -> None:
    robot = SOURCE.replace("aliases: {a1: [one]", "aliases: {a1: [one], grip: [pointer]")
    robot = robot.replace("[arm, hand, gripper, waist]", "[arm, hand, waist], b: [gripper]")
    (folder / "source.yaml").write_text(robot, encoding="utf-8")
    with pytest.raises(MapError, match=r"map\.yaml:8: 'pointer' could be any of index, grip"):
        compiled(folder)


def test_one_joint_for_two_names_is_refused(folder: Path) -> None:
    robot = TARGET.replace("pointer, thumb", "finger, pointer, thumb") + "aliases: {finger: [index]}\n"
    (folder / "target.yaml").write_text(robot, encoding="utf-8")
    with pytest.raises(MapError, match=r"map\.yaml:8: one joint of 'source' fits two of 'hand': finger <- index"):
        compiled(folder)


def test_reorder_prefers_the_name_to_an_alias(folder: Path) -> None:
    robot = SOURCE.replace("aliases: {a1: [one]", "aliases: {thumb: [pollex]").replace("[grip]", "[pollex]")
    (folder / "source.yaml").write_text(robot.replace("gripper, waist]", "waist], b: [gripper]"), encoding="utf-8")
    target = TARGET.replace("pointer, thumb", "pointer, pollex")
    (folder / "target.yaml").write_text(target, encoding="utf-8")
    made = compiled(folder)
    mapped, _ = made.apply(frames(9), frames(7))
    _, pollex = mapped[:, made.target.layout("state").slices["hand"]].T
    np.testing.assert_array_equal(pollex, frames(9)[:, made.source.layout("state").joints.index("pollex")])


def test_an_unknown_map_brings_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'aloha_to_gr' is not a map\. Did you mean 'aloha_to_gr1'"):
        load_map("aloha_to_gr")


# Random maps against a slow reference.

WIDTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4)
FINITE = st.floats(-8, 8, width=32)


@st.composite
def robots(draw: st.DrawFn, prefix: str) -> Robot:
    groups = {}
    for g, width in enumerate(draw(WIDTHS)):
        joints = [f"{prefix}{g}_{j}" for j in range(width)]
        groups[f"{prefix}{g}"] = {
            "joints": joints,
            "action_joints": draw(st.none() | st.permutations(joints)),
            "unit": "rad",
            "rest": draw(st.lists(FINITE, min_size=width, max_size=width)),
        }
    layouts = {vector: {vector: draw(st.permutations(list(groups)))} for vector in ("state", "action")}
    return Robot.model_validate({"name": prefix, "groups": groups, **layouts})


@st.composite
def rules(draw: st.DrawFn, source: Robot, target: Robot, group: str, vector: Vector) -> object:
    still = ["rest", "hold"] if vector == "action" else ["rest"]
    joints = target.groups[group].joints
    narrow = [name for name, theirs in source.groups.items() if len(theirs.joints) <= len(joints)]
    single = [joint for theirs in source.groups.values() for joint in theirs.joints]
    kind = draw(st.sampled_from([*still, "constant", "broadcast", "joints", *(["copy"] if narrow else [])]))
    if kind in still:
        return kind
    if kind == "constant":
        return {"rest": draw(st.lists(FINITE, min_size=len(joints), max_size=len(joints)))}
    table = draw(st.dictionaries(st.sampled_from(joints), st.sampled_from(single), min_size=1))
    rule: dict[str, object] = {
        "copy": {"copy": draw(st.sampled_from(narrow or [""]))},
        "broadcast": {"broadcast": draw(st.sampled_from(single))},
        "joints": {"joints": table, "others": draw(st.sampled_from(still))},
    }[kind]
    if draw(st.booleans()):
        num_lines = len(table) if kind == "joints" else len(joints)
        ranges = st.tuples(FINITE, FINITE).map(sorted)
        rule["rescale"] = {
            "source": draw(ranges.filter(lambda ends: ends[0] + 0.1 < ends[1])),
            "target": draw(st.lists(ranges, min_size=num_lines, max_size=num_lines)),
            "polarity": draw(st.sampled_from(["same", "inverted"])),
        }
    return rule


@st.composite
def maps(draw: st.DrawFn) -> EmbodimentMap:
    source, target = draw(robots("s")), draw(robots("t"))
    own = {
        vector: {group: draw(rules(source, target, group, vector)) for group in target.groups}
        for vector in ("state", "action")
    }
    # A map must drive something; naming the groups besides is enough.
    return EmbodimentMap.model_validate(
        {
            "name": "random",
            "source": source,
            "target": target,
            "cameras": {},
            "groups": own["state"],
            "action": own["action"],
            "also_train": list(target.groups),
        }
    )


def slowly(
    rules: EmbodimentMap, vector: Vector, values: dict[str, float], observed: dict[str, float]
) -> dict[str, float]:
    """One frame of the target by joint name, as the rules read."""
    result = {}
    for group in rules.target.groups_of(vector):
        rule, _ = rules.rule(group, vector)
        ours = rules.target.groups[group]
        lines = lines_of(rule, ours.order(vector), rules.source, vector)
        holds = rule == "hold" or getattr(rule, "others", None) == "hold"
        constants = dict(zip(ours.order(vector), rule.rest, strict=True)) if isinstance(rule, Constant) else {}
        for joint in ours.joints:
            still = observed[joint] if holds else constants.get(joint, ours.rest_pose[joint])
            result[joint] = driven(rule, list(lines).index(joint), values[lines[joint]]) if joint in lines else still
    return result


def lines_of(rule: Rule, joints: tuple[str, ...], source: Robot, vector: Vector) -> dict[str, str]:
    """The source's joint for each joint that a rule drives, in the order of the rule's ranges."""
    if isinstance(rule, Copy):
        return dict(zip(joints, source.groups[rule.group].order(vector), strict=False))
    if isinstance(rule, Broadcast):
        return dict.fromkeys(joints, rule.joint)
    return dict(rule.joints) if isinstance(rule, JointTable) else {}


def driven(rule: Rule, line: int, value: float) -> float:
    """What a rule makes of a value on one of its lines."""
    rescale = getattr(rule, "rescale", None)
    if rescale is None:
        return value
    low, high = rescale.source
    start, end = rescale.target[line]
    if rescale.polarity == "inverted":
        start, end = end, start
    return start if start == end else start + (value - low) / (high - low) * (end - start)


@settings(deadline=None)
@given(maps(), st.data())
def test_random_maps_equal_a_reference_joint_by_joint(rules: EmbodimentMap, data: st.DataObject) -> None:
    made = compile_map(rules)
    layouts = {vector: rules.source.layout(vector) for vector in VECTORS}
    values = {
        vector: np.array(
            data.draw(st.lists(FINITE | st.just(math.nan), min_size=layout.width, max_size=layout.width)),
            np.float32,
        )
        for vector, layout in layouts.items()
    }
    state, action = made.apply(values["state"][None], values["action"][None])
    by_name = {
        vector: dict(zip(layout.joints, values[vector].tolist(), strict=True)) for vector, layout in layouts.items()
    }
    expected_state = slowly(rules, "state", by_name["state"], {})
    expected_action = slowly(rules, "action", by_name["action"], expected_state)
    for vector, mapped, expected in zip(VECTORS, (state, action), (expected_state, expected_action), strict=True):
        wanted = [expected[joint] for joint in rules.target.layout(vector).joints]
        np.testing.assert_allclose(mapped.squeeze(0), wanted, rtol=1e-4, atol=1e-4)


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(1, 20))
def test_reordering_there_and_back_changes_nothing(order: list[str], num_frames: int) -> None:
    def robot(name: str, joints: list[str]) -> Robot:
        group = {"joints": joints, "unit": "rad"}
        return Robot.model_validate(
            {
                "name": name,
                "groups": {"all": group},
                "state": {"s": ["all"]},
                "action": {"a": ["all"]},
            }
        )

    here, there = robot("here", ["a", "b", "c", "d", "e"]), robot("there", order)
    rules = {"name": "turn", "cameras": {}, "groups": {"all": {"reorder": "all"}}}
    out, back = (
        compile_map(EmbodimentMap.model_validate({**rules, "source": source, "target": target}))
        for source, target in ((here, there), (there, here))
    )
    values = frames(5, num_frames)
    for mapped in back.apply(*out.apply(values, values)):
        np.testing.assert_array_equal(mapped, values)
