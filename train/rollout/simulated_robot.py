"""What a rollout asks of a simulated robot, whatever simulates it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating]
Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot senses at one step.

    Args:
        state: Joints in the order and units of the robot's file, shape (D,).
        images: By camera of the robot, (H, W, 3) RGB; none where the environment was opened without.
    """

    state: Vector
    images: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StepOutcome:
    """What one action led to."""

    observation: Observation
    reward: float
    is_success: bool
    is_over: bool


class SimulatedRobot(Protocol):
    """A simulated robot that is driven by joint targets.

    robot: the name or file of its robot. control_fps: targets a second, Hz.
    """

    robot: str
    control_fps: Fraction

    def reset(self, seed: int) -> Observation:
        """Begin an episode; equal seeds begin equally."""
        ...

    def step(self, action: Vector) -> StepOutcome:
        """Send joint targets, shape (D,), and let one control period pass."""
        ...

    def render(self) -> Image:
        """The scene as a person would look at it, (H, W, 3) RGB."""
        ...


@dataclass(frozen=True)
class Start:
    """How a policy wants an episode to begin.

    Args:
        seed: Of the environment.
        num_steps: Control steps that the policy has actions for; None where it can go on.
    """

    seed: int
    num_steps: int | None = None


class RolloutPolicy(Protocol):
    """What chooses joint targets. name: how results call it."""

    name: str

    @property
    def num_episodes(self) -> int | None:
        """Episodes that it has actions for; None where it can go on."""
        ...

    def start(self, episode: int) -> Start:
        """Begin the episode of that number."""
        ...

    def act(self, observation: Observation, step: int) -> Vector:
        """The targets of a control step, counted from 0, shape (D,)."""
        ...
