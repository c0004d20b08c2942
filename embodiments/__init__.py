"""Robots, and maps from one to another. No video, no ray, no torch."""

from millrace.embodiments.errors import (
    Facts,
    JointMismatch,
    MapError,
    MillraceError,
    RobotError,
    RuleError,
    UnknownName,
    unknown_name,
)
from millrace.embodiments.inverse import InverseJoint, InverseJointMap, InverseMap
from millrace.embodiments.joint_map import CompiledMap, JointMap
from millrace.embodiments.mapping import EmbodimentMap, compile_map, identity_map, load_map, map_names, parse_map
from millrace.embodiments.matching import Match, match_joints
from millrace.embodiments.messages import Message, Remedy, Setting
from millrace.embodiments.modality import (
    ModalityConfig,
    modality_config,
    modality_config_source,
    modality_json,
)
from millrace.embodiments.robot import VECTORS, JointGroup, Layout, Robot, Vector, is_path, load_robot, robot_names
from millrace.embodiments.rules import Rule
from millrace.embodiments.yaml_file import FrozenModel, Key, YamlFile, read_yaml

__all__ = [
    "VECTORS",
    "CompiledMap",
    "EmbodimentMap",
    "Facts",
    "FrozenModel",
    "InverseJoint",
    "InverseJointMap",
    "InverseMap",
    "JointGroup",
    "JointMap",
    "JointMismatch",
    "Key",
    "Layout",
    "MapError",
    "Match",
    "Message",
    "MillraceError",
    "ModalityConfig",
    "Remedy",
    "Robot",
    "RobotError",
    "Rule",
    "RuleError",
    "Setting",
    "UnknownName",
    "Vector",
    "YamlFile",
    "compile_map",
    "identity_map",
    "is_path",
    "load_map",
    "load_robot",
    "map_names",
    "match_joints",
    "modality_config",
    "modality_config_source",
    "modality_json",
    "parse_map",
    "read_yaml",
    "robot_names",
    "unknown_name",
]
