"""Datasets of the G1 family as the Hub has them: columns and names written out, values known."""

from collections.abc import Sequence

LEG = ("HipPitch", "HipRoll", "HipYaw", "Knee", "AnklePitch", "AnkleRoll")
ARM = ("ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "Elbow", "WristRoll", "WristPitch", "WristYaw")
LEGS = tuple(f"k{side}{joint}" for side in ("Left", "Right") for joint in LEG)
WAIST = ("kWaistYaw", "kWaistRoll", "kWaistPitch")
LEFT_ARM, RIGHT_ARM = (tuple(f"k{side}{joint}" for joint in ARM) for side in ("Left", "Right"))
LEFT_DEX3 = (
    "kLeftHandThumb0",
    "kLeftHandThumb1",
    "kLeftHandThumb2",
    "kLeftHandMiddle0",
    "kLeftHandMiddle1",
    "kLeftHandIndex0",
    "kLeftHandIndex1",
)
RIGHT_DEX3 = (
    "kRightHandThumb0",
    "kRightHandThumb1",
    "kRightHandThumb2",
    "kRightHandIndex0",
    "kRightHandIndex1",
    "kRightHandMiddle0",
    "kRightHandMiddle1",
)
SDK = ("Pinky", "Ring", "Middle", "Index", "ThumbBend", "ThumbRotation")
LEFT_SDK, RIGHT_SDK = (tuple(f"k{side}Hand{joint}" for joint in SDK) for side in ("Left", "Right"))
GRIPPERS = ("kLeftGripper", "kRightGripper")


def whole(*names: Sequence[str]) -> dict[str, Sequence[str]]:
    """State and action in one column each, the same joints in both."""
    joints = [name for group in names for name in group]
    return {"observation.state": joints, "action": joints}


COLUMNS: dict[str, dict[str, Sequence[str]]] = {
    # Of the arms, which stand in two columns of the state, the later one counts.
    "g1_gripper": {
        "observation.body": [*LEGS, *WAIST, *LEFT_ARM, *RIGHT_ARM],
        "action.body": ["VX", "VY", "AngularZ", "WaistYaw", "WaistPitch", "WaistRoll", "Height"],
        "observation.left_arm": LEFT_ARM,
        "observation.left_gripper": ["kLeftGripper"],
        "action.left_arm": LEFT_ARM,
        "action.left_gripper": ["kLeftGripper"],
        "observation.right_arm": RIGHT_ARM,
        "observation.right_gripper": ["kRightGripper"],
        "action.right_arm": RIGHT_ARM,
        "action.right_gripper": ["kRightGripper"],
    },
    "g1_dex3": whole(LEFT_ARM, RIGHT_ARM, LEFT_DEX3, RIGHT_DEX3),
    "g1_trifinger": whole(LEGS, WAIST, LEFT_ARM, LEFT_DEX3, RIGHT_ARM, RIGHT_DEX3),
    "g1_inspire26": whole(LEFT_ARM, RIGHT_ARM, LEFT_SDK, RIGHT_SDK),
    "g1_dex1": whole(LEFT_ARM, RIGHT_ARM, GRIPPERS),
}
