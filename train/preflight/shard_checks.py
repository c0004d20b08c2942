"""How GR00T cuts a dataset into shards, in numbers.

As gr00t/data/dataset/sharded_single_step_dataset.py, N1.6: the steps of every episode are dealt into
`int(1 / episode_sampling_rate)` parts, and each part goes to the shard that is shortest so far. A part without steps
fills no shard, so all shards get steps if and only if there are as many parts with steps as shards, whatever the order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.problems import Problem
from millrace.train.preflight.run_checks import make_run_problem


@dataclass(frozen=True)
class Sharding:
    """The shards of one dataset. num_parts: parts of episodes that have steps."""

    num_steps: int
    num_parts: int
    num_shards: int

    @property
    def steps_per_shard(self) -> float:
        """Steps in an average shard."""
        return self.num_steps / self.num_shards if self.num_shards else 0.0

    @property
    def fills_all(self) -> bool:
        """Whether every shard gets steps; if not, GR00T stops with "All shards must have length greater than 0"."""
        return 0 < self.num_shards <= self.num_parts


def trainable_steps(lengths: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    """Steps of each episode that have room for a whole action chunk, shape (num_episodes,).

    Args:
        lengths: Frames of each episode, shape (num_episodes,).
        span: Frames from a chunk's first step to its last.
    """
    return np.maximum(lengths - span + 1, 0)


def num_splits(episode_sampling_rate: float) -> int:
    """Parts that GR00T cuts an episode into."""
    return int(1 / episode_sampling_rate)


def shard(steps: NDArray[np.int64], *, shard_size: int, num_splits: int) -> Sharding:
    """What GR00T makes of episodes with so many steps, shape (num_episodes,)."""
    num_steps = int(steps.sum())
    return Sharding(num_steps, int(np.minimum(steps, num_splits).sum()), math.ceil(num_steps / shard_size))


def smallest_shard_size(steps: NDArray[np.int64], *, num_splits: int) -> int:
    """The smallest shards that all get steps."""
    return math.ceil(int(steps.sum()) / int(np.minimum(steps, num_splits).sum()))


def largest_sampling_rate(steps: NDArray[np.int64], *, shard_size: int) -> float:
    """The largest rate, of those with a short decimal, whose parts are enough for all shards."""
    num_shards = math.ceil(int(steps.sum()) / shard_size)
    fewest, most = 1, int(steps.max())
    while fewest < most:
        middle = (fewest + most) // 2
        enough = int(np.minimum(steps, middle).sum()) >= num_shards
        fewest, most = (fewest, middle) if enough else (middle + 1, most)
    return next(rate for rate in _rounded_down(1 / fewest) if rate > 0 and num_splits(rate) >= fewest)


def _rounded_down(value: float) -> Iterator[float]:
    for digits in range(1, 17):
        yield math.floor(value * 10**digits) / 10**digits


def sharding_problems(
    dataset: Path, steps: NDArray[np.int64], *, shard_size: int, episode_sampling_rate: float
) -> Iterator[Problem]:
    """Whether every shard gets steps.

    Args:
        dataset: Its folder.
        steps: Trainable steps of each episode, shape (num_episodes,), some of them above 0.
        shard_size: As N1.6's --shard-size.
        episode_sampling_rate: As N1.6's, in (0, 1].
    """
    parts = num_splits(episode_sampling_rate)
    sharding = shard(steps, shard_size=shard_size, num_splits=parts)
    if sharding.fills_all:
        return
    size = smallest_shard_size(steps, num_splits=parts)
    rate = largest_sampling_rate(steps, shard_size=shard_size)
    message = (
        f"{sharding.num_steps:,} steps make {sharding.num_shards:,} shards of {shard_size:,}, but episodes "
        f"are cut into {sharding.num_parts:,} parts only: 'All shards must have length greater than 0'"
    )
    yield make_run_problem("shards", message, dataset, size=size, rate=rate)
