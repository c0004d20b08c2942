"""Rollouts: a policy drives a simulated robot, and success is counted."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from pydantic import computed_field

from millrace.embodiments import FrozenModel
from millrace.train.rollout.simulated_robot import Image, RolloutPolicy, SimulatedRobot

CONFIDENCE = 0.95


class EpisodeOutcome(FrozenModel):
    """One episode.

    Args:
        episode: Its number, from 0.
        seed: That the environment began with.
        num_steps: Control steps until it was over.
        first_success: The first step at whose end the task was done; None if it never was.
        max_reward: Of any step.
    """

    episode: int
    seed: int
    num_steps: int
    first_success: int | None
    max_reward: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_success(self) -> bool:
        """Whether the task was done at any step."""
        return self.first_success is not None


class Rollout(FrozenModel):
    """All episodes of one policy in one environment."""

    environment: str
    policy: str
    episodes: tuple[EpisodeOutcome, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def num_successes(self) -> int:
        """Episodes in which the task was done."""
        return sum(outcome.is_success for outcome in self.episodes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def success_rate(self) -> float:
        """Share of episodes in which the task was done."""
        return self.num_successes / len(self.episodes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval(self) -> tuple[float, float]:
        """Where the success rate lies with 95 % confidence."""
        return wilson_interval(self.num_successes, len(self.episodes))


@dataclass(frozen=True, eq=False)
class EpisodeTrace:
    """One episode and what was seen of it: states (T + 1, D), and images where any were asked for."""

    outcome: EpisodeOutcome
    states: NDArray[np.float64]
    last_reward: float
    images: Sequence[Image]


def roll_out(
    robot: SimulatedRobot,
    policy: RolloutPolicy,
    episodes: Iterable[int],
    *,
    max_steps: int,
    image_every: int | None = None,
    stops_at_success: bool = True,
) -> Iterator[EpisodeTrace]:
    """Let a policy drive episode after episode.

    Args:
        robot: The simulated robot.
        policy: What chooses its joint targets.
        episodes: Their numbers.
        max_steps: Control steps at most, where the policy could go on.
        image_every: Steps from one image to the next; None: no images.
        stops_at_success: Whether an episode ends when the task is done, not when the policy has no more actions.
    """
    for episode in episodes:
        start = policy.start(episode)
        num_steps = max_steps if start.num_steps is None else start.num_steps
        observation = robot.reset(start.seed)
        states, rewards, images = [observation.state], [0.0], list[Image]()
        first_success = None
        for step in range(num_steps):
            if image_every and step % image_every == 0:
                images.append(robot.render())
            taken = robot.step(policy.act(observation, step))
            observation = taken.observation
            states.append(observation.state)
            rewards.append(taken.reward)
            if taken.is_success and first_success is None:
                first_success = step
            if taken.is_over or (taken.is_success and stops_at_success):
                break
        outcome = EpisodeOutcome(
            episode=episode,
            seed=start.seed,
            num_steps=len(states) - 1,
            first_success=first_success,
            max_reward=max(rewards),
        )
        yield EpisodeTrace(outcome, np.stack(states), rewards[-1], images)


def wilson_interval(num_successes: int, num_trials: int) -> tuple[float, float]:
    """Where the chance of success lies with 95 % confidence, after Wilson (1927): sound for few trials, and at 0 and 1.

    Args:
        num_successes: Of the trials, in [0, num_trials].
        num_trials: At least 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, spread = num_successes / num_trials, z * z / num_trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / num_trials + spread / num_trials / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
