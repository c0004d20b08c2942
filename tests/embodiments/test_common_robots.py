"""Robots that most people have are recognised by what their real info.json files hold, and convert."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from conftest import REPOSITORY, convert_here, matrix, read_meta, read_table
from millrace.embodiments import load_robot
from millrace.engine.errors import RecipeError
from millrace.engine.planning.robot_guess import guess_map, guess_robot
from millrace.engine.sources import open_source
from millrace.engine.validate import validate
from support.synthetic import expected_action, expected_state, write_dataset

SO = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
MAIN = tuple(f"main_{joint}" for joint in SO)  # LeRobot before v0.2
POS = tuple(f"{joint}.pos" for joint in SO)
BI = tuple(f"{side}_{joint}.pos" for side in ("left", "right") for joint in SO)
DROID = (*(f"joint_{number}" for number in range(7)), "gripper")
BRIDGE = ("x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper")
LIBERO = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3", "gripper", "gripper")
WIDOWX_AI = (*(f"joint_{number}" for number in range(6)), "left_carriage_joint")
TROSSEN = tuple(f"{side}_{joint}.pos" for side in ("left", "right") for joint in WIDOWX_AI)


class Real(NamedTuple):
    """What a real info.json says: robot_type, names of state and action, and how they are nested."""

    robot: str
    robot_type: str
    state: tuple[str, ...]
    action: tuple[str, ...]
    nested: str | None = None
    fps: int = 30
    cameras: tuple[str, ...] = ("front",)


REAL = [
    Real("so101", "so101_follower", POS, POS, cameras=("front", "wrist")),
    Real("so101", "so101", MAIN, MAIN, cameras=("laptop", "phone")),
    Real("so100", "so100_follower", POS, POS, cameras=("top",)),
    Real("so100", "so100", MAIN, MAIN, cameras=("laptop", "phone")),
    Real("so100", "so_follower", POS, POS),
    Real("koch", "koch", MAIN, MAIN, cameras=("laptop", "phone")),
    Real("koch", "koch_follower", POS, POS),
    Real("bi_so", "bi_so100_follower", BI, BI, cameras=("left_wrist", "right_wrist", "top")),
    Real("bi_so", "bi_so_follower", BI, BI),
    Real("franka_droid", "Franka", DROID, DROID, "axes", 15, ("wrist_left", "exterior_1_left", "exterior_2_left")),
    Real(
        "widowx_bridge",
        "WidowX",
        BRIDGE,
        BRIDGE[:6] + BRIDGE[7:],
        "motors",
        5,
        ("image_0", "image_1", "image_2", "image_3"),
    ),
    Real("franka_libero", "franka", LIBERO, LIBERO[:7], "motors", 20, ("image", "wrist_image")),
    Real("trossen_stationary", "bi_widowxai_follower_robot", TROSSEN, TROSSEN, cameras=("cam_high", "cam_low")),
    Real("trossen_mobile", "mobileai_robot", (*TROSSEN, "x.vel", "theta.vel"), (*TROSSEN, "x.vel", "theta.vel")),
]


def write(root: Path, real: Real, **options: Any) -> Path:
    parts = {"observation.state": real.state, "action": real.action}
    settings = {"lengths": (20,), "fps": real.fps, "cameras": real.cameras, "robot_type": real.robot_type}
    write_dataset(root, parts=parts, names="flat", **{**settings, **options})
    return root


@pytest.mark.parametrize("real", REAL, ids=[f"{real.robot}-{real.robot_type}" for real in REAL])
def test_a_real_dataset_is_recognised_as_its_robot(real: Real, tmp_path: Path) -> None:
    guess = guess_robot(open_source(write(tmp_path, real)))
    assert (guess.name, guess.confidence) == (real.robot, "certain")
    assert guess.commands
    assert f"--robot {real.robot}" in guess.commands[0]
    assert "would fit as well" not in guess.reason


def test_a_robot_that_no_map_leads_from_keeps_its_joints(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, REAL[0]))
    with pytest.raises(RecipeError, match=rf"no map leads from '{REAL[0].robot}'.*: robot='{REAL[0].robot}' keeps its"):
        guess_map(source)


def test_arms_of_the_same_joints_are_never_told_apart_silently(tmp_path: Path) -> None:
    guess = guess_robot(open_source(write(tmp_path, Real("", "mine", POS, POS))))
    assert (guess.name, guess.confidence) == ("so101", "likely")
    assert guess.reason.endswith("koch, so100 would fit as well")


@pytest.mark.parametrize("robot", sorted({real.robot for real in REAL}))
def test_a_dataset_of_a_common_robot_converts_onto_itself(robot: str, tmp_path: Path) -> None:
    real = next(real for real in REAL if real.robot == robot)
    source, out = write(tmp_path / "source", real), tmp_path / "out"
    convert_here(source, out, robot=robot, fps="source", horizon=4)
    assert validate(out).is_valid
    assert set(read_meta(out, "modality.json")["video"]) == set(real.cameras)
    table, frames = read_table(out, 0), np.arange(20)
    np.testing.assert_array_equal(matrix(table, "observation.state"), expected_state(0, frames, len(real.state)))
    np.testing.assert_allclose(matrix(table, "action"), expected_action(0, frames, len(real.action)), rtol=1e-6)


@pytest.mark.parametrize("robot", sorted({real.robot for real in REAL}))
def test_a_common_robots_file_says_where_its_facts_are_from(robot: str) -> None:
    path = REPOSITORY / "embodiments" / "robots" / f"{robot}.yaml"
    assert any(
        source in path.read_text(encoding="utf-8")
        for source in ("lerobot/robots", "examples/port_datasets", "any4lerobot", "lerobot_trossen")
    )
    assert load_robot(robot).robot_types


def test_steps_of_bridge_are_summed_and_its_gripper_kept(tmp_path: Path) -> None:
    real = next(real for real in REAL if real.robot == "widowx_bridge")
    source = write(tmp_path / "source", real, fps=10, cameras=("image_0",))
    convert_here(source, tmp_path / "out", robot="widowx_bridge", fps=5, horizon=4, cameras={"image_0": "image_0"})
    action = expected_action(0, np.arange(20), 7).astype(np.float64)
    kept = matrix(read_table(tmp_path / "out", 0), "action")
    np.testing.assert_allclose(kept[:, :6], action[:, :6].reshape(10, 2, 6).sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(kept[:, 6], action[::2, 6].astype(np.float32))
