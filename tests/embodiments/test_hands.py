"""A hand that is closed arrives closed, an open one open, on both sides alike, within the target's limits."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace.embodiments import compile_map, load_map, load_robot, map_names
from millrace.embodiments.robot import VECTORS

# The limit at which each joint of a source's hand is closed; the others are there open. Dex3 (left): unitree_sdk2,
# g1_dex3_example.cpp, and Unitree's URDF; thumb_0 swings sideways and neither opens nor closes.
DEX3_LEFT = {
    "thumb_1": "high",
    "thumb_2": "high",
    **dict.fromkeys(("index_0", "index_1", "middle_0", "middle_1"), "low"),
}
MIRRORED = {"low": "high", "high": "low"}
# Dex1: its driver is set to 0 with the gripper closed (dex1_1_service, README.md); 5.4 is open.
DEX1 = {"left_gripper": "low", "right_gripper": "low"}
SDK_FINGERS = ("pinky", "ring", "middle", "index", "thumb_bend", "thumb_rotation")
BRAINCO_JOINTS = ("thumb", "thumb_aux", "index", "middle", "ring", "pinky")
DEX3 = {
    **{f"left_hand_{joint}": end for joint, end in DEX3_LEFT.items()},
    **{f"right_hand_{joint}": MIRRORED[end] for joint, end in DEX3_LEFT.items()},
}
CLOSED: Mapping[str, Mapping[str, str]] = {
    "g1_dex3": DEX3,
    "g1_trifinger": DEX3,
    "g1_dex1": DEX1,
    "g1_gripper": DEX1,
    "g1_inspire26": {f"{side}_hand_{finger}": "low" for side in ("left", "right") for finger in SDK_FINGERS},
    "g1_brainco": {f"{side}_hand_{joint}": "high" for side in ("left", "right") for joint in BRAINCO_JOINTS},
    "aloha": {"left_gripper": "low", "right_gripper": "low"},
}
WITHOUT_HANDS = ("g1_arms",)
HANDS = {"g1_inspire": ("left_gripper", "right_gripper"), "gr1": ("left_hand", "right_hand")}
# The ALOHA guide's plain copy is neither the range nor the sense of a GR1 hand, which its description says.
ONTO_HANDS = [
    name
    for name in map_names()
    if load_map(name).target.name in HANDS
    and load_map(name).source.name not in WITHOUT_HANDS
    and name != "aloha_to_gr1"
]


def pose(source: str, vector: str, *, closed: bool) -> NDArray[np.float64]:
    """One frame: every joint of the hands at its closed or its open limit, the others at rest."""
    layout = load_robot(source).layout(vector)  # type: ignore[arg-type]
    values = layout.rest.astype(np.float64)
    for joint, end in CLOSED[source].items():
        column = layout.joints.index(joint)
        values[column] = layout.limits[column][1 if (end == "high") == closed else 0]
    return values[np.newaxis]


def hands(name: str, *, closed: bool) -> dict[tuple[str, str], dict[str, float]]:
    """Values of the target's driven hand joints, by vector and side, by joint without its side."""
    made = compile_map(load_map(name))
    mapped = made.apply(*(pose(made.source.name, vector, closed=closed) for vector in VECTORS))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for vector, values, joint_map in zip(VECTORS, mapped, (made.state, made.action), strict=True):
        layout = made.target.layout(vector)
        for group in HANDS[made.target.name]:
            place, side = layout.slices[group], group.split("_", 1)[0]
            driven = [column for column in range(place.start, place.stop) if column in joint_map.driven]
            joints = {layout.joints[column].removeprefix(f"{side}_"): values[0, column].item() for column in driven}
            found[vector, side] = joints
    return found


def test_every_map_onto_hands_is_judged_here() -> None:
    assert {load_map(name).source.name for name in ONTO_HANDS} == set(CLOSED)
    assert len(ONTO_HANDS) == 7


@pytest.mark.parametrize("name", ONTO_HANDS)
def test_both_hands_close_and_open_alike_and_within_limits(name: str) -> None:
    target = load_map(name).target
    closed, opened = hands(name, closed=True), hands(name, closed=False)
    for vector in VECTORS:
        assert closed[vector, "left"] == pytest.approx(closed[vector, "right"], abs=1e-6)
        assert opened[vector, "left"] == pytest.approx(opened[vector, "right"], abs=1e-6)
        for joint, value in closed[vector, "left"].items():
            group = next(group for group in target.groups.values() if f"left_{joint}" in group.joints)
            low, high = group.joint_limits[f"left_{joint}"]
            assert low - 1e-6 <= opened[vector, "left"][joint] <= value <= high + 1e-6, joint
            assert value > opened[vector, "left"][joint], joint


@pytest.mark.parametrize("name", [name for name in ONTO_HANDS if name.endswith("_to_inspire")])
def test_an_inspire_hand_opens_to_zero_and_closes_to_its_limits(name: str) -> None:
    inspire = load_robot("g1_inspire").groups["left_gripper"].joint_limits
    for values in hands(name, closed=True).values():
        assert values == pytest.approx({joint: inspire[f"left_{joint}"][1] for joint in values}, abs=1e-3)
    for values in hands(name, closed=False).values():
        assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-3)
