"""Features of public LeRobot datasets as their info.json files list them: names, shapes, types, order.

Each says where its facts were read: the dataset's own info.json, or the converter that wrote it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

SO = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
POSE = ("x", "y", "z", "roll", "pitch", "yaw")
ARM = tuple(f"joint_{number}" for number in range(7))
CODECS = {"av1": "libsvtav1", "libx265": "libx265"}


def numbers(width: int | None, names: Any = None, dtype: str = "float32") -> dict[str, Any]:
    """A column; width None: the file says null, as BEHAVIOR's does."""
    return {"dtype": dtype, "shape": [width], "names": names}


def labelled(label: str, names: Sequence[str]) -> dict[str, Any]:
    """A column whose names stand below a label."""
    return numbers(len(names), {label: list(names)})


def flat(names: Sequence[str]) -> dict[str, Any]:
    """A column whose names are a list."""
    return numbers(len(names), list(names))


def text() -> dict[str, Any]:
    """A column of texts."""
    return numbers(1, dtype="string")


def truth() -> dict[str, Any]:
    """A column of truth values."""
    return numbers(1, dtype="bool")


def images(height: int, width: int, channels: str = "channel") -> dict[str, Any]:
    """Pictures stored with the rows."""
    return {"dtype": "image", "shape": [height, width, 3], "names": ["height", "width", channels]}


def video(
    height: int,
    width: int,
    channels: str = "channels",
    *,
    fps: float,
    codec: Literal["av1", "libx265"] = "av1",
    pix_fmt: str = "yuv420p",
) -> dict[str, Any]:
    """A camera; channels: what info.json calls the third size."""
    info = {
        "video.fps": fps,
        "video.height": height,
        "video.width": width,
        "video.channels": 3,
        "video.codec": codec,
        "video.pix_fmt": pix_fmt,
        "video.is_depth_map": channels == "depth",
        "has_audio": False,
    }
    return {**images(height, width, channels), "dtype": "video", "info": info}


def bookkeeping(**changes: Any) -> dict[str, Any]:
    """The columns that every LeRobot dataset ends with; None leaves one out."""
    columns = {"timestamp": numbers(1)}
    columns |= {name: numbers(1, dtype="int64") for name in ("frame_index", "episode_index", "index", "task_index")}
    return {name: feature for name, feature in {**columns, **changes}.items() if feature is not None}


def cameras(names: Sequence[str], feature: Mapping[str, Any]) -> dict[str, Any]:
    """Cameras that are all alike."""
    return {f"observation.images.{name}": dict(feature) for name in names}


def rated(features: Mapping[str, Any], fps: int) -> dict[str, Any]:
    """What the converter from v2.1 to v3.0 adds to each feature that is no video."""
    return {key: {**feature, "fps": fps} for key, feature in features.items()}


_AXIS_ANGLE = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3")
# any4lerobot, libero2lerobot/libero_utils/config.py.
LIBERO = {
    **cameras(("image", "wrist_image"), video(256, 256, "rgb", fps=20)),
    "observation.state": labelled("motors", (*_AXIS_ANGLE, "gripper", "gripper")),
    "observation.states.ee_state": labelled("motors", _AXIS_ANGLE),
    "observation.states.joint_state": labelled("motors", ARM),
    "observation.states.gripper_state": labelled("motors", ("gripper", "gripper")),
    "action": labelled("motors", (*_AXIS_ANGLE, "gripper")),
    **bookkeeping(),
}
# any4lerobot, openx2lerobot/openx_rlds.py, generate_features_from_raw for LIBERO: IPEC-COMMUNITY/libero_*_lerobot.
LIBERO_OPENX = {
    **cameras(("image", "wrist_image"), video(256, 256, "rgb", fps=20)),
    "observation.state": labelled("motors", (*POSE, "gripper", "gripper")),
    "action": labelled("motors", (*POSE, "gripper")),
    **bookkeeping(),
}
# openpi, examples/libero/convert_libero_data_to_lerobot.py: physical-intelligence/libero.
LIBERO_OPENPI = {
    "image": images(256, 256),
    "wrist_image": images(256, 256),
    "state": numbers(8, ["state"]),
    "actions": numbers(7, ["actions"]),
    **bookkeeping(),
}
# fracapuano/libero, info.json.
LIBERO_V3 = {
    **rated(cameras(("image", "wrist_image"), images(256, 256)), 10),
    **rated({"observation.state": labelled("motors", ("x", "y", "z", "rx", "ry", "rz", "rw", "gripper"))}, 10),
    **rated({"action": labelled("motors", (*POSE, "gripper"))}, 10),
    **bookkeeping(),
}
# lt-s/LIBERO-v30_spatial_object_goal_sampling, info.json.
LIBERO_UNNAMED = {
    "action": numbers(7, ["actions"]),
    **cameras(("image", "image2"), video(128, 128, "channel", fps=10)),
    "observation.state": numbers(8, ["state"]),
    **bookkeeping(),
}
# lerobot, examples/port_datasets/port_droid.py, DROID_FEATURES: lerobot/droid_1.0.1.
DROID = {
    **{key: truth() for key in ("is_first", "is_last", "is_terminal")},
    **{f"language_instruction{number}": text() for number in ("", "_2", "_3")},
    "observation.state.gripper_position": labelled("axes", ("gripper",)),
    "observation.state.cartesian_position": labelled("axes", POSE),
    "observation.state.joint_position": labelled("axes", ARM),
    "observation.state": labelled("axes", (*ARM, "gripper")),
    **cameras(("wrist_left", "exterior_1_left", "exterior_2_left"), video(180, 320, fps=15)),
    "action.gripper_position": labelled("axes", ("gripper",)),
    "action.gripper_velocity": labelled("axes", ("gripper",)),
    "action.cartesian_position": labelled("axes", POSE),
    "action.cartesian_velocity": labelled("axes", POSE),
    "action.joint_position": labelled("axes", ARM),
    "action.joint_velocity": labelled("axes", ARM),
    "action.original": labelled("axes", (*POSE, "gripper")),
    "action": labelled("axes", (*ARM, "gripper")),
    "discount": numbers(1),
    "reward": numbers(1),
    **{key: text() for key in ("task_category", "building", "collector_id", "date")},
    "camera_extrinsics.wrist_left": labelled("axes", POSE),
    "camera_extrinsics.exterior_1_left": labelled("axes", POSE),
    "camera_extrinsics.exterior_2_left": labelled("axes", POSE),
    "is_episode_successful": truth(),
    **bookkeeping(),
}

_A2D_ARMS = tuple(f"{side}_joint_{number}" for side in ("left", "right") for number in range(7))
_A2D_BODY = ("head_yaw", "head_pitch", *_A2D_ARMS[:7], "left_gripper", *_A2D_ARMS[7:], "right_gripper")
_A2D_BODY = (*_A2D_BODY, "waist_pitch", "waist_lift")
_A2D_PARTS = {
    "effector.position": labelled("axes", ("left_gripper", "right_gripper")),
    "end.position": labelled("axes", [f"{side}_{axis}" for side in ("left", "right") for axis in "xyz"]),
    "end.orientation": labelled("axes", [f"{side}_{axis}" for side in ("left", "right") for axis in "xyzw"]),
    "head.position": labelled("axes", ("yaw", "pitch")),
    "joint.position": labelled("axes", _A2D_ARMS),
    "waist.position": labelled("axes", ("pitch", "lift")),
}
# cadene/agibot_alpha_world_210_shard_1, info.json; its actions and cameras in LeRobot's porting script of AgiBot World.
AGIBOT = {
    **{f"observation.state.{part}": feature for part, feature in _A2D_PARTS.items()},
    "observation.state.joint.current_value": labelled("axes", _A2D_ARMS),
    "observation.state": labelled("axes", _A2D_BODY),
    **{f"action.{part}": feature for part, feature in _A2D_PARTS.items()},
    "action.robot.velocity": labelled("axes", ("velocity_x", "yaw_rate")),
    "action": labelled("axes", (*_A2D_BODY, "velocity_x", "yaw_rate")),
    **{key: text() for key in ("init_scene_text", "action_text", "skill")},
    **cameras(("top_head", "hand_left", "hand_right"), video(480, 640, "channel", fps=30)),
    **cameras(
        [f"{place}_fisheye" for place in ("head_center", "head_left", "head_right", "back_left", "back_right")],
        video(748, 960, "channel", fps=30),
    ),
    **bookkeeping(),
}
_A2D_MOTORS = tuple(f"{side}_arm_{number}" for side in ("left", "right") for number in range(7))
_A2D_COMMON = {
    "effector.position": labelled("motors", ("left_gripper", "right_gripper")),
    "end.orientation": {**labelled("motors", ("left_xyzw", "right_xyzw")), "shape": [2, 4]},
    "end.position": {**labelled("motors", ("left_xyz", "right_xyz")), "shape": [2, 3]},
    "head.position": labelled("motors", ("yaw", "patch")),
    "joint.position": labelled("motors", _A2D_MOTORS),
    "waist.position": labelled("motors", ("pitch", "lift")),
}
# any4lerobot, agibot2lerobot/agibot_utils/config.py, of robots with grippers; "patch" is what stands there.
AGIBOT_ANY4LEROBOT = {
    **cameras(("head", "hand_left", "hand_right"), video(480, 640, "rgb", fps=30)),
    "observation.images.head_depth": {**images(480, 640), "shape": [480, 640, 1]},
    **{f"observation.states.{part}": feature for part, feature in _A2D_COMMON.items()},
    "observation.states.joint.current_value": labelled("motors", _A2D_MOTORS),
    "observation.states.robot.orientation": labelled("motors", ("x", "y", "z", "w")),
    "observation.states.robot.position": labelled("motors", ("x", "y", "z")),
    **{f"actions.{part}": feature for part, feature in _A2D_COMMON.items()},
    "actions.robot.velocity": labelled("motors", ("x_vel", "yaw_vel")),
    **bookkeeping(),
}


def _r1pro(kind: str, channels: str, pix_fmt: str = "yuv420p") -> dict[str, Any]:
    sizes = {"left_wrist": 480, "right_wrist": 480, "head": 720}
    return {
        f"observation.images.{kind}.{camera}": video(size, size, channels, fps=30, codec="libx265", pix_fmt=pix_fmt)
        for camera, size in sizes.items()
    }


# BEHAVIOR-1K, OmniGibson's generate_info_json: behavior-1k/2025-challenge-demos. task_info is as wide as the task is.
BEHAVIOR = {
    **_r1pro("rgb", "rgb"),
    **_r1pro("depth", "depth", "yuv420p16le"),
    **_r1pro("seg_instance_id", "rgb"),
    "action": numbers(23),
    **bookkeeping(timestamp=numbers(1, dtype="float64"), frame_index=None, task_index=None),
    "observation.cam_rel_poses": numbers(21),
    "observation.state": numbers(256),
    "observation.task_info": numbers(None),
}
# lerobot/svla_so100_pickplace, info.json.
SO100 = {
    "action": flat([f"main_{joint}" for joint in SO]),
    "observation.state": flat([f"main_{joint}" for joint in SO]),
    **cameras(("top", "wrist"), video(480, 640, fps=30)),
    **bookkeeping(),
}
# Servo7/stack-cubes, info.json.
SO100_V3 = {
    "observation.state": flat(SO),
    **cameras(("front", "wrist"), images(480, 640, "channels")),
    "action": flat(SO),
    **bookkeeping(),
}
# LeRobot-worldwide-hackathon/24-TuringPoint-asimovsToyboxPickandplace, info.json.
SO101 = {
    "action": flat([f"{joint}.pos" for joint in SO]),
    "observation.state": flat([f"{joint}.pos" for joint in SO]),
    **cameras(("wrist", "webcam"), video(500, 500, fps=30)),
    **bookkeeping(),
}
# any4lerobot, openx2lerobot/README.md and openx_rlds.py: IPEC-COMMUNITY/bridge_orig_lerobot.
BRIDGE = {
    **cameras([f"image_{number}" for number in range(4)], video(256, 256, "rgb", fps=5)),
    "observation.state": labelled("motors", (*POSE, "pad", "gripper")),
    "action": labelled("motors", (*POSE, "gripper")),
    **bookkeeping(),
}
# Gaugou/BridgeV2, info.json, as far as its language columns.
BRIDGE_V3 = {
    **cameras(("primary", "wrist", "side1", "side2"), video(480, 640, fps=5)),
    "observation.state": labelled("axes", (*ARM[:6], "gripper")),
    "action": labelled("axes", (*[f"action_{number}" for number in range(6)], "gripper")),
    **bookkeeping(),
}
