"""Two small robots, a map from one to the other, and ways to try it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import (
    CompiledMap,
    compile_map,
    load_map,
)

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


def write_robots(folder: Path) -> Path:
    """The files of both."""
    (folder / "source.yaml").write_text(SOURCE, encoding="utf-8")
    (folder / "target.yaml").write_text(TARGET, encoding="utf-8")
    return folder


def compiled(folder: Path, text: str = MAP) -> CompiledMap:
    (folder / "map.yaml").write_text(text, encoding="utf-8")
    return compile_map(load_map(folder / "map.yaml"))


def frames(width: int, num_frames: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(num_frames, width)).astype(np.float32)
