"""How GR00T cuts a dataset into shards, in numbers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def count_trainable_steps(lengths: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    """Steps of each episode that have room for a whole action chunk, shape (num_episodes,).

    Args:
        lengths: Frames of each episode, shape (num_episodes,).
        span: Frames from a chunk's first step to its last.
    """
    return np.maximum(lengths - span + 1, 0)


def count_splits(sampling_rate: float) -> int:
    """Parts that GR00T cuts an episode into."""
    return int(1 / sampling_rate)


@dataclass(frozen=True, eq=False)
class Sharding:
    """The shards of one dataset (gr00t/data/dataset/sharded_single_step_dataset.py).

    The steps of every episode are dealt into `int(1 / sampling_rate)` parts, and each part goes to the shard that is
    shortest so far. A part without steps fills no shard, so all shards get steps if and only if there are as many
    parts with steps as shards, whatever the order.

    Args:
        steps: Trainable steps of each episode, shape (num_episodes,).
        shard_size: Steps due in a shard.
        sampling_rate: Share of the episodes' steps that is drawn, in (0, 1].
        is_capped: Whether there are no more shards than parts with steps, as later builds of GR00T have it.
    """

    steps: NDArray[np.int64]
    shard_size: int
    sampling_rate: float
    is_capped: bool = False

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return int(self.steps.sum())

    @property
    def num_parts(self) -> int:
        """Parts of episodes that have steps."""
        return self._count_parts(count_splits(self.sampling_rate))

    @property
    def num_shards(self) -> int:
        """Shards that GR00T makes."""
        due = math.ceil(self.num_steps / self.shard_size)
        return min(due, self.num_parts) if self.is_capped else due

    @property
    def steps_per_shard(self) -> float:
        """Steps in an average shard."""
        return self.num_steps / self.num_shards if self.num_shards else 0.0

    @property
    def fills_all(self) -> bool:
        """Whether every shard gets steps; if not, GR00T stops with "All shards must have length greater than 0"."""
        return 0 < self.num_shards <= self.num_parts

    @property
    def smallest_shard_size(self) -> int:
        """The smallest shards that all get steps; there must be steps."""
        return math.ceil(self.num_steps / self.num_parts)

    @property
    def largest_sampling_rate(self) -> float:
        """The largest rate, of those with a short decimal, whose parts are enough for all shards."""
        fewest, most = 1, int(self.steps.max())
        while fewest < most:
            middle = (fewest + most) // 2
            enough = self._count_parts(middle) >= self.num_shards
            fewest, most = (fewest, middle) if enough else (middle + 1, most)
        return next(rate for rate in _round_down(1 / fewest) if rate > 0 and count_splits(rate) >= fewest)

    def _count_parts(self, num_splits: int) -> int:
        return int(np.minimum(self.steps, num_splits).sum())


def _round_down(value: float) -> Iterator[float]:
    for digits in range(1, 17):
        yield math.floor(value * 10**digits) / 10**digits
