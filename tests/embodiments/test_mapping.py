"""What a map promises: the right joint in the right column, and errors that say where."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from millrace.embodiments import (
    MapError,
    compile_map,
    identity_map,
    load_map,
    load_robot,
)
from millrace.embodiments.robot import VECTORS
from millrace.embodiments.rules import Constant, JointTable
from support.small_maps import MAP, compiled, frames


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
