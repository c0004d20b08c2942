"""The simulated ALOHA of gym-aloha: two ViperX arms at a table, in MuJoCo."""

import os
from fractions import Fraction
from typing import Any

import numpy as np

from millrace.train.rollout.simulated_robot import Image, Observation, StepOutcome, Vector

PACKAGE = "gym_aloha"
PREFIX = f"{PACKAGE}/"
# Its JOINTS and ACTIONS are, in order, those of embodiments/robots/aloha.yaml (gym_aloha/constants.py).
ROBOT = "aloha"
CAMERA = "top"


def choose_renderer(*, with_images: bool) -> None:
    """Choose how MuJoCo draws before anything imports it; a choice of the user stays."""
    os.environ.setdefault("MUJOCO_GL", "egl" if with_images else "off")


class GymAloha:
    """One of gym-aloha's tasks.

    Args:
        env_id: Such as "gym_aloha/AlohaTransferCube-v0".
        with_images: Whether observations hold the camera's images. Each step draws three of 480x640, most of its time.
    """

    robot = ROBOT

    def __init__(self, env_id: str, *, with_images: bool) -> None:
        choose_renderer(with_images=with_images)
        import gym_aloha  # noqa: F401  registers its environments
        import gymnasium

        # Without the wrappers, which end an episode after 300 steps and warn of joints beyond [-1, 1].
        self._env: Any = gymnasium.make(env_id, obs_type="pixels_agent_pos").unwrapped
        self.control_fps = Fraction(self._env.metadata["render_fps"])
        self.with_images = with_images
        if not with_images:
            self._draw_nothing()

    def reset(self, seed: int) -> Observation:
        """Put the arms at rest and the objects where the seed says."""
        found, _ = self._env.reset(seed=seed)
        return self._observe(found)

    def step(self, action: Vector) -> StepOutcome:
        """Send 14 targets: six joints in rad and a gripper, 0 closed to 1 open, of the left arm, then of the right."""
        found, reward, _, is_over, info = self._env.step(np.asarray(action, dtype=np.float64))
        return StepOutcome(self._observe(found), float(reward), bool(info["is_success"]), is_over)

    def render(self) -> Image:
        """The view from above the table, 240x320."""
        return np.asarray(self._env._env.physics.render(height=240, width=320, camera_id=CAMERA))

    def _observe(self, found: dict[str, Any]) -> Observation:
        images = {CAMERA: np.asarray(found["pixels"][CAMERA])} if self.with_images else {}
        return Observation(np.array(found["agent_pos"], dtype=np.float64), images)

    def _draw_nothing(self) -> None:
        """Observe joints alone: its task draws three cameras at every step, and has no setting against it."""
        task, nothing = self._env._env.task, np.zeros((1, 1, 3), dtype=np.uint8)
        task.get_observation = lambda physics: {"qpos": task.get_qpos(physics), "images": {CAMERA: nothing}}
