"""A scripted policy for gym-aloha's cube: the right arm lifts it and hands it to the left arm.

Waypoints of both grippers become joint targets by dm_control's inverse kinematics. gym-aloha's own environment for
waypoints (a mocap body, welded to each gripper) does not turn the gripper under MuJoCo 3: friction holds the wrist.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

NUM_STEPS = 400
ARM_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
# Where the cube changes hands, in m; the cube's edge is 4 cm, and it rests on the table at 2 cm.
MEETING_POINT = np.array([0.0, 0.5, 0.28])
CUBE_HEIGHT = 0.02
# The site between a gripper's finger tips.
GRASP_SITE = "cali_{side}_site1"


class Waypoint(NamedTuple):
    """Where a gripper is at a step: its finger tips in m, a unit quaternion (w, x, y, z), 0 closed to 1 open."""

    step: int
    position: Vector
    rotation: Vector
    opening: float


class Demonstrator:
    """Plans joint targets, shape (400, 14) at 50 Hz in the order of the robot `aloha`, for a cube's place."""

    def __init__(self) -> None:
        from dm_control import mujoco
        from gym_aloha.constants import ASSETS_DIR, START_ARM_POSE

        self._physics: Any = mujoco.Physics.from_xml_path(str(ASSETS_DIR / "bimanual_viperx_transfer_cube.xml"))
        self._rest = START_ARM_POSE

    def plan(self, cube: Vector) -> Vector:
        """The targets; cube: its x and y on the table, in m."""
        return np.concatenate([self._follow("left", self._receive()), self._follow("right", self._give(cube))], axis=1)

    def _give(self, cube: Vector) -> list[Waypoint]:
        low = np.array([cube[0], cube[1], CUBE_HEIGHT - 0.008])
        high, away = low + np.array([0, 0, 0.12]), _beside_meeting_point(0.15)
        down, level = _gripper(yaw=180, pitch=80), _gripper(yaw=180, pitch=30)
        return [
            Waypoint(0, *self._rest_pose("right"), 0),
            Waypoint(70, high, down, 1),
            Waypoint(110, low, down, 1),
            Waypoint(125, low, down, 1),
            Waypoint(150, low, down, 0),
            Waypoint(185, high, down, 0),
            Waypoint(240, MEETING_POINT, level, 0),
            Waypoint(310, MEETING_POINT, level, 0),
            Waypoint(330, MEETING_POINT, level, 1),
            Waypoint(380, away, level, 1),
            Waypoint(NUM_STEPS, away, level, 1),
        ]

    def _receive(self) -> list[Waypoint]:
        # Rolled by 90 degrees, its fingers close on the two faces that the other gripper leaves free.
        turned = _gripper(yaw=0, pitch=0, roll=90)
        aside, touching, away = (_beside_meeting_point(x) for x in (-0.15, 0.01, -0.12))
        position, rotation = self._rest_pose("left")
        return [
            Waypoint(0, position, rotation, 0),
            Waypoint(100, position, rotation, 0),
            Waypoint(180, aside, turned, 1),
            Waypoint(245, aside, turned, 1),
            Waypoint(280, touching, turned, 1),
            Waypoint(305, touching, turned, 0),
            Waypoint(345, touching, turned, 0),
            Waypoint(390, away, turned, 0),
            Waypoint(NUM_STEPS, away, turned, 0),
        ]

    def _rest_pose(self, side: str) -> tuple[Vector, Vector]:
        import mujoco

        self._put_to_rest()
        found, site = self._physics.named.data, GRASP_SITE.format(side=side)
        rotation = np.empty(4)
        mujoco.mju_mat2Quat(rotation, found.site_xmat[site])
        return found.site_xpos[site].copy(), rotation

    def _put_to_rest(self) -> None:
        self._physics.named.data.qpos[: len(self._rest)] = self._rest
        self._physics.forward()

    def _follow(self, side: str, waypoints: Sequence[Waypoint]) -> Vector:
        """Joint targets of one arm and its gripper, shape (400, 7)."""
        from dm_control.utils.inverse_kinematics import qpos_from_site_pose

        self._put_to_rest()
        joints = [f"vx300s_{side}/{joint}" for joint in ARM_JOINTS]
        targets = np.empty((NUM_STEPS, 7))
        for step in range(NUM_STEPS):
            position, rotation, opening = _between(waypoints, step)
            # Each solution begins at the one before, so that the arm moves without jumps.
            solved = qpos_from_site_pose(
                self._physics,
                GRASP_SITE.format(side=side),
                position,
                rotation,
                joints,
                tol=1e-4,
                rot_weight=0.3,
                inplace=True,
            )
            if not solved.success:
                raise ValueError(f"the {side} arm does not reach {position} at step {step}: {solved.err_norm:.3f} off")
            targets[step] = [*self._physics.named.data.qpos[joints], opening]
        return targets


def _between(waypoints: Sequence[Waypoint], step: int) -> tuple[Vector, Vector, float]:
    """A gripper's pose at a step; it starts and stops softly at every waypoint."""
    later = next(number for number, point in enumerate(waypoints) if point.step > step)
    start, end = waypoints[later - 1], waypoints[later]
    share = (step - start.step) / (end.step - start.step)
    soft = share * share * (3 - 2 * share)
    position = start.position + soft * (end.position - start.position)
    same_half = end.rotation if start.rotation @ end.rotation >= 0 else -end.rotation
    rotation = start.rotation + soft * (same_half - start.rotation)
    return position, rotation / np.linalg.norm(rotation), start.opening + share * (end.opening - start.opening)


def _beside_meeting_point(x: float) -> Vector:
    return MEETING_POINT + np.array([x, 0, 0])


def _gripper(*, yaw: float, pitch: float, roll: float = 0) -> Vector:
    """A gripper's rotation; degrees about z, then its own y, downwards, then its own x."""
    import mujoco

    found = np.array([1.0, 0, 0, 0])
    for axis, angle in (([0, 0, 1], yaw), ([0, 1, 0], pitch), ([1, 0, 0], roll)):
        turn, result = np.empty(4), np.empty(4)
        mujoco.mju_axisAngle2Quat(turn, np.array(axis, dtype=np.float64), np.radians(angle))
        mujoco.mju_mulQuat(result, found, turn)
        found = result
    return found
