"""What each joint of a G1 target is, written by hand: joint by joint, both hands, state and action.

A line is a joint of the target and what it comes from: the source's name of a value, taken as it is; that name and
two points of a line, source -> target; "held" for the observed state of the same joint; or a number that it rests at.
Values are named as the source's datasets name them. Of ranges and polarities: the project's robot facts.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, NDArray[np.float32]]

LEGS = """
left_hip_pitch      kLeftHipPitch
left_hip_roll       kLeftHipRoll
left_hip_yaw        kLeftHipYaw
left_knee           kLeftKnee
left_ankle_pitch    kLeftAnklePitch
left_ankle_roll     kLeftAnkleRoll
right_hip_pitch     kRightHipPitch
right_hip_roll      kRightHipRoll
right_hip_yaw       kRightHipYaw
right_knee          kRightKnee
right_ankle_pitch   kRightAnklePitch
right_ankle_roll    kRightAnkleRoll
"""
LEGS_HELD = """
left_hip_pitch      held
left_hip_roll       held
left_hip_yaw        held
left_knee           held
left_ankle_pitch    held
left_ankle_roll     held
right_hip_pitch     held
right_hip_roll      held
right_hip_yaw       held
right_knee          held
right_ankle_pitch   held
right_ankle_roll    held
"""
LEGS_AT_REST = """
left_hip_pitch      0
left_hip_roll       0
left_hip_yaw        0
left_knee           0
left_ankle_pitch    0
left_ankle_roll     0
right_hip_pitch     0
right_hip_roll      0
right_hip_yaw       0
right_knee          0
right_ankle_pitch   0
right_ankle_roll    0
"""
WAIST = """
waist_yaw           kWaistYaw
waist_roll          kWaistRoll
waist_pitch         kWaistPitch
"""
WAIST_COMMANDED = """
waist_yaw           WaistYaw
waist_roll          WaistRoll
waist_pitch         WaistPitch
"""
WAIST_AT_REST = """
waist_yaw           0
waist_roll          0
waist_pitch         0
"""
ARMS = """
left_shoulder_pitch    kLeftShoulderPitch
left_shoulder_roll     kLeftShoulderRoll
left_shoulder_yaw      kLeftShoulderYaw
left_elbow             kLeftElbow
left_wrist_roll        kLeftWristRoll
left_wrist_pitch       kLeftWristPitch
left_wrist_yaw         kLeftWristYaw
right_shoulder_pitch   kRightShoulderPitch
right_shoulder_roll    kRightShoulderRoll
right_shoulder_yaw     kRightShoulderYaw
right_elbow            kRightElbow
right_wrist_roll       kRightWristRoll
right_wrist_pitch      kRightWristPitch
right_wrist_yaw        kRightWristYaw
"""
HANDS_FROM_GRIPPERS = """
left_index_proximal          kLeftGripper    0->1.7 5.4->0
left_index_intermediate      0
left_middle_proximal         kLeftGripper    0->1.7 5.4->0
left_middle_intermediate     0
left_pinky_proximal          kLeftGripper    0->1.7 5.4->0
left_pinky_intermediate      0
left_ring_proximal           kLeftGripper    0->1.7 5.4->0
left_ring_intermediate       0
left_thumb_proximal_yaw      0
left_thumb_proximal_pitch    kLeftGripper    0->0.6 5.4->0
left_thumb_intermediate      0
left_thumb_distal            0
right_index_proximal         kRightGripper   0->1.7 5.4->0
right_index_intermediate     0
right_middle_proximal        kRightGripper   0->1.7 5.4->0
right_middle_intermediate    0
right_pinky_proximal         kRightGripper   0->1.7 5.4->0
right_pinky_intermediate     0
right_ring_proximal          kRightGripper   0->1.7 5.4->0
right_ring_intermediate      0
right_thumb_proximal_yaw     0
right_thumb_proximal_pitch   kRightGripper   0->0.6 5.4->0
right_thumb_intermediate     0
right_thumb_distal           0
"""
HANDS_FROM_DEX3 = """
left_index_proximal          kLeftHandIndex0    -1.5708->1.7 0->0
left_index_intermediate      kLeftHandIndex1    -1.7453->1.7 0->0
left_middle_proximal         kLeftHandMiddle0   -1.5708->1.7 0->0
left_middle_intermediate     kLeftHandMiddle1   -1.7453->1.7 0->0
left_pinky_proximal          0
left_pinky_intermediate      0
left_ring_proximal           0
left_ring_intermediate       0
left_thumb_proximal_yaw      0
left_thumb_proximal_pitch    kLeftHandThumb1    -0.6109->0 1.0472->0.6
left_thumb_intermediate      kLeftHandThumb2    0->0 1.7453->0.8
left_thumb_distal            kLeftHandThumb2    0->0 1.7453->1.2
right_index_proximal         kRightHandIndex0    0->0 1.5708->1.7
right_index_intermediate     kRightHandIndex1    0->0 1.7453->1.7
right_middle_proximal        kRightHandMiddle0   0->0 1.5708->1.7
right_middle_intermediate    kRightHandMiddle1   0->0 1.7453->1.7
right_pinky_proximal         0
right_pinky_intermediate     0
right_ring_proximal          0
right_ring_intermediate      0
right_thumb_proximal_yaw     0
right_thumb_proximal_pitch   kRightHandThumb1    -1.0472->0.6 0.6109->0
right_thumb_intermediate     kRightHandThumb2    -1.7453->0.8 0->0
right_thumb_distal           kRightHandThumb2    -1.7453->1.2 0->0
"""
HANDS_FROM_SDK = """
left_index_proximal          kLeftHandIndex           0->1.7 1->0
left_index_intermediate      kLeftHandIndex           0->1.7 1->0
left_middle_proximal         kLeftHandMiddle          0->1.7 1->0
left_middle_intermediate     kLeftHandMiddle          0->1.7 1->0
left_pinky_proximal          kLeftHandPinky           0->1.7 1->0
left_pinky_intermediate      kLeftHandPinky           0->1.7 1->0
left_ring_proximal           kLeftHandRing            0->1.7 1->0
left_ring_intermediate       kLeftHandRing            0->1.7 1->0
left_thumb_proximal_yaw      kLeftHandThumbRotation   0->1.3 1->0
left_thumb_proximal_pitch    kLeftHandThumbBend       0->0.6 1->0
left_thumb_intermediate      kLeftHandThumbBend       0->0.8 1->0
left_thumb_distal            kLeftHandThumbBend       0->1.2 1->0
right_index_proximal         kRightHandIndex          0->1.7 1->0
right_index_intermediate     kRightHandIndex          0->1.7 1->0
right_middle_proximal        kRightHandMiddle         0->1.7 1->0
right_middle_intermediate    kRightHandMiddle         0->1.7 1->0
right_pinky_proximal         kRightHandPinky          0->1.7 1->0
right_pinky_intermediate     kRightHandPinky          0->1.7 1->0
right_ring_proximal          kRightHandRing           0->1.7 1->0
right_ring_intermediate      kRightHandRing           0->1.7 1->0
right_thumb_proximal_yaw     kRightHandThumbRotation  0->1.3 1->0
right_thumb_proximal_pitch   kRightHandThumbBend      0->0.6 1->0
right_thumb_intermediate     kRightHandThumbBend      0->0.8 1->0
right_thumb_distal           kRightHandThumbBend      0->1.2 1->0
"""
GRIPPERS = """
left_gripper    kLeftGripper
right_gripper   kRightGripper
"""
# What the tests' recipe says of hands that have no one gripper value: the left rests, the right is its index finger.
GRIPPERS_OF_DEX3 = """
left_gripper    0
right_gripper   kRightHandIndex0   -0.2->0 1.2->5.4
"""
GRIPPERS_OF_SDK = """
left_gripper    0
right_gripper   kRightHandIndex    0->5.4 1->0
"""
COMMANDED_AND_MOVING = """
waist_yaw     WaistYaw
waist_pitch   WaistPitch
waist_roll    WaistRoll
height        Height
vx            VX
vy            VY
angular_z     AngularZ
"""
COMMANDED_AND_STANDING = """
waist_yaw     kWaistYaw
waist_pitch   kWaistPitch
waist_roll    kWaistRoll
height        0.74
vx            0
vy            0
angular_z     0
"""
HELD_AND_STANDING = """
waist_yaw     held
waist_pitch   held
waist_roll    held
height        0.74
vx            0
vy            0
angular_z     0
"""
STANDING = LEGS_AT_REST + WAIST_AT_REST + ARMS

TABLES: dict[str, dict[Literal["state", "action"], str]] = {
    "g1_gripper_to_inspire": {
        "state": LEGS + WAIST + ARMS + HANDS_FROM_GRIPPERS,
        "action": LEGS_HELD + WAIST_COMMANDED + ARMS + HANDS_FROM_GRIPPERS,
    },
    "g1_dex3_to_inspire": {"state": STANDING + HANDS_FROM_DEX3, "action": STANDING + HANDS_FROM_DEX3},
    "g1_trifinger_to_inspire": {
        "state": LEGS + WAIST + ARMS + HANDS_FROM_DEX3,
        "action": LEGS + WAIST + ARMS + HANDS_FROM_DEX3,
    },
    "g1_inspire26_to_inspire": {"state": STANDING + HANDS_FROM_SDK, "action": STANDING + HANDS_FROM_SDK},
    "g1_dex1_to_inspire": {"state": STANDING + HANDS_FROM_GRIPPERS, "action": STANDING + HANDS_FROM_GRIPPERS},
    "g1_gripper_to_unitree_g1": {
        "state": LEGS + WAIST + ARMS + GRIPPERS,
        "action": ARMS + GRIPPERS + COMMANDED_AND_MOVING,
    },
    "g1_dex3_to_unitree_g1": {
        "state": STANDING + GRIPPERS_OF_DEX3,
        "action": ARMS + GRIPPERS_OF_DEX3 + HELD_AND_STANDING,
    },
    "g1_trifinger_to_unitree_g1": {
        "state": LEGS + WAIST + ARMS + GRIPPERS_OF_DEX3,
        "action": ARMS + GRIPPERS_OF_DEX3 + COMMANDED_AND_STANDING,
    },
    "g1_inspire26_to_unitree_g1": {
        "state": STANDING + GRIPPERS_OF_SDK,
        "action": ARMS + GRIPPERS_OF_SDK + HELD_AND_STANDING,
    },
    "g1_dex1_to_unitree_g1": {"state": STANDING + GRIPPERS, "action": ARMS + GRIPPERS + HELD_AND_STANDING},
}


def expected(name: str, vector: Literal["state", "action"], values: Values, observed: Values) -> Values:
    """Each joint of a map's target, in its order, by name: (T,) each.

    values: the source's, by its names. observed: the target's state, for what is held.
    """
    lines = [line.split() for line in TABLES[name][vector].split("\n") if line]
    num_frames = len(next(iter(values.values())))
    assert len(lines) == len({line[0] for line in lines}), "a joint stands twice in the table"
    return {joint: _joint(joint, words, values, observed, num_frames) for joint, *words in lines}


def _joint(joint: str, words: list[str], values: Values, observed: Values, num_frames: int) -> NDArray[np.float32]:
    source, *points = words
    if source == "held":
        return observed[joint]
    if source not in values:
        return np.full(num_frames, float(source), np.float32)
    if not points:
        return values[source]
    (x0, y0), (x1, y1) = (map(float, point.split("->")) for point in points)
    line = y0 + (values[source].astype(np.float64) - x0) / (x1 - x0) * (y1 - y0)
    return line.astype(np.float32)
