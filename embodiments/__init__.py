"""Robots, and maps from one to another. No video, no ray, no torch."""

from millrace.embodiments.errors import (
    JointMismatch,
    MapError,
    MillraceError,
    RobotError,
    RuleError,
    UnknownName,
    unknown_name,
)
from millrace.embodiments.joint_map import CompiledMap, JointMap
from millrace.embodiments.mapping import EmbodimentMap, compile_map, identity_map, load_map, map_names
from millrace.embodiments.matching import Match, match_joints
from millrace.embodiments.modality import (
    ModalityConfig,
    modality_config,
    modality_config_source,
    modality_json,
)
from millrace.embodiments.robot import JointGroup, Layout, Robot, Vector, load_robot, robot_names
from millrace.embodiments.rules import Rule

__all__ = [
    "CompiledMap",
    "EmbodimentMap",
    "JointGroup",
    "JointMap",
    "JointMismatch",
    "Layout",
    "MapError",
    "Match",
    "MillraceError",
    "ModalityConfig",
    "Robot",
    "RobotError",
    "Rule",
    "RuleError",
    "UnknownName",
    "Vector",
    "compile_map",
    "identity_map",
    "load_map",
    "load_robot",
    "map_names",
    "match_joints",
    "modality_config",
    "modality_config_source",
    "modality_json",
    "robot_names",
    "unknown_name",
]
