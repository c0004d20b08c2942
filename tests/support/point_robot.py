"""An environment without a simulator, opened by name of this file: ALOHA's joints are at once where they are sent.

Success: the left gripper is open, and was sent there while the right one was closed.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.train.rollout.simulated_robot import Observation, StepOutcome

LEFT_GRIPPER, RIGHT_GRIPPER = 6, 13


class PointRobot:
    """Joints without mass."""

    robot = "aloha"
    control_fps = Fraction(50)

    def __init__(self, env_id: str, *, with_images: bool) -> None:
        self.state = np.zeros(14)
        self.images = {"top": np.zeros((48, 64, 3), dtype=np.uint8)} if with_images else {}

    def reset(self, seed: int) -> Observation:
        self.state = np.full(14, float(seed))
        return Observation(self.state, self.images)

    def step(self, action: NDArray[np.floating]) -> StepOutcome:
        self.state = np.asarray(action, dtype=np.float64)
        is_success = bool(action[LEFT_GRIPPER] > 0.9 and action[RIGHT_GRIPPER] < 0.1)
        return StepOutcome(Observation(self.state, self.images), float(is_success), is_success, is_over=False)

    def render(self) -> NDArray[np.uint8]:
        return np.full((48, 64, 3), int(255 * np.clip(self.state[LEFT_GRIPPER], 0, 1)), dtype=np.uint8)


open_environment = PointRobot
