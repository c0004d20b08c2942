"""Actions that are steps are summed at a lower rate, those that are targets are not, as the files tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import convert_here, matrix, read_table
from millrace.embodiments import MillraceError
from millrace.engine.convert import estimate
from millrace.engine.errors import DatasetError
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import open_source
from support.synthetic import expected_action
from support.synthetic_hdf5 import write_demos

NUM_FRAMES = 6
OSC_POSE = {"type": "OSC_POSE", "input_max": 1, "control_delta": True}
COMPOSITE = {"type": "BASIC", "body_parts": {"right": {"type": "OSC_POSE", "input_type": "delta"}}}
ABSOLUTE = {"type": "BASIC", "body_parts": {"right": {"type": "OSC_POSE", "input_type": "absolute"}}}
HALF: dict[str, Any] = {"robot": "same", "horizon": 2, "fps": 10, "task": "Stack the cubes.", "source_fps": 20}


def robosuite(controller: object) -> dict[str, object]:
    """env_args of a robosuite task at 20 Hz."""
    kwargs = {"control_freq": 20} | ({} if controller is None else {"controller_configs": controller})
    return {"env_name": "Lift", "type": 1, "env_kwargs": kwargs}


def isaac(name: str) -> dict[str, object]:
    """env_args of an Isaac Lab task."""
    return {"env_name": f"Isaac-Stack-Cube-Franka-{name}-v0", "type": 2}


def write(root: Path, layout: str, env_args: dict[str, object] | None, width: int = 7) -> Path:
    """One demonstration."""
    write_demos(root / "demo.hdf5", layout, {0: NUM_FRAMES}, action_width=width, env_args=env_args)
    return root / "demo.hdf5"


def convert_at_half_rate(source: Path, out: Path, **settings: Any) -> Any:
    """The action of every second frame, (T / 2, D)."""
    convert_here(source, out, **{**HALF, **settings})
    return matrix(read_table(out, 0), "action")


@pytest.mark.parametrize(
    ("layout", "env_args", "width"),
    [
        ("libero", None, 7),
        ("libero", robosuite(OSC_POSE), 7),
        ("robomimic", robosuite(OSC_POSE), 7),
        ("robomimic", robosuite([OSC_POSE, OSC_POSE]), 14),
        ("robomimic", robosuite(COMPOSITE), 7),
        ("robomimic", robosuite({**OSC_POSE, "type": "OSC_POSITION"}), 4),
        ("isaaclab", isaac("IK-Rel"), 7),
        ("isaaclab", isaac("IK-Rel-Visuomotor-Mimic"), 7),
    ],
)
def test_steps_are_summed_and_the_gripper_is_not(
    layout: str, env_args: dict[str, object] | None, width: int, tmp_path: Path
) -> None:
    action = convert_at_half_rate(write(tmp_path, layout, env_args, width), tmp_path / "out")
    source = expected_action(0, np.arange(NUM_FRAMES), width)
    expected = source.reshape(-1, 2, width).sum(axis=1)
    grippers = [width - 1] if width < 14 else [6, 13]
    expected[:, grippers] = source[::2, grippers]
    np.testing.assert_allclose(action, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "env_args"),
    [
        ("libero", robosuite({**OSC_POSE, "control_delta": False})),
        ("robomimic", robosuite({**OSC_POSE, "control_delta": False})),
        ("robomimic", robosuite(ABSOLUTE)),
        ("isaaclab", isaac("IK-Abs")),
    ],
)
def test_targets_are_those_of_the_kept_frames(layout: str, env_args: dict[str, object], tmp_path: Path) -> None:
    action = convert_at_half_rate(write(tmp_path, layout, env_args), tmp_path / "out")
    np.testing.assert_array_equal(action, expected_action(0, np.arange(0, NUM_FRAMES, 2), 7))


@pytest.mark.parametrize(
    ("layout", "env_args", "width"),
    [
        ("robomimic", robosuite(None), 7),
        ("robomimic", robosuite(OSC_POSE), 12),  # of a moving base: no list is as long
        ("isaaclab", isaac("Joint-Position"), 8),
    ],
)
def test_actions_of_an_unknown_kind_are_refused_at_a_lower_rate_alone(
    layout: str, env_args: dict[str, object], width: int, tmp_path: Path
) -> None:
    source = write(tmp_path, layout, env_args, width)
    with pytest.raises(MillraceError, match=r"nothing tells whether actions are targets or steps: at 10 Hz from 20 Hz"):
        convert_at_half_rate(source, tmp_path / "out")
    action = convert_at_half_rate(source, tmp_path / "whole", fps="source")
    np.testing.assert_array_equal(action, expected_action(0, np.arange(NUM_FRAMES), width))
    notes = estimate(Recipe.single(source, **{**HALF, "fps": "source"}), tmp_path / "other").notes
    assert any("a robot file says it by action_kind" in note for note in notes)


def test_a_robot_file_says_what_the_files_do_not(tmp_path: Path) -> None:
    source = write(tmp_path, "robomimic", robosuite(None))
    (tmp_path / "mine.yaml").write_text(ROBOT)
    action = convert_at_half_rate(source, tmp_path / "out", robot=str(tmp_path / "mine.yaml"))
    values = expected_action(0, np.arange(NUM_FRAMES), 7)
    np.testing.assert_allclose(action, values.reshape(-1, 2, 7).sum(axis=1), atol=1e-6)


def test_a_robot_of_steps_does_not_sum_targets(tmp_path: Path) -> None:
    source = write(tmp_path, "libero", robosuite({**OSC_POSE, "control_delta": False}))
    problem = r"the files tell that 'x' of the action is a target, but for robot 'franka_libero' it is a step"
    with pytest.raises(MillraceError, match=problem):
        convert_at_half_rate(source, tmp_path / "out", robot="franka_libero")
    convert_here(source, tmp_path / "whole", **{**HALF, "robot": "franka_libero", "fps": "source"})


def test_files_whose_actions_mean_different_things_are_refused(tmp_path: Path) -> None:
    for number, is_step in enumerate((True, False)):
        env_args = robosuite({**OSC_POSE, "control_delta": is_step})
        write_demos(tmp_path / f"{number}.hdf5", "robomimic", {0: 3}, env_args=env_args)
    with pytest.raises(DatasetError, match=r"actions mean different things: .*0.hdf5 step, .*1.hdf5 target"):
        open_source(tmp_path)


ROBOT = """\
name: mine
description: An arm whose controller takes steps
groups:
  pose: {joints: [x, y, z, qx, qy, qz, qw], unit: m}
  fingers: {joints: [finger_1, finger_2], unit: m}
  step: {joints: [a, b, c, d, e, f, g], unit: of a step, action_kind: delta}
state: {observation.state: [pose, fingers]}
action: {action: [step]}
cameras: [agentview]
horizon: 2
"""
