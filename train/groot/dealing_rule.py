"""How the installed GR00T deals the steps of episodes into shards, found out by letting it deal a few.

N1.6 and the first N1.7 deal parts of episodes that have no steps, too, which later ones do not.
"""

import copy
import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset

from millrace.engine.dataset.sharding import count_splits, count_trainable_steps
from millrace.train.shard_index import ShardIndex
from millrace.train.training_dataset import TrainingDataError

# Of episodes beyond the action horizon: none, one and few steps, and more than there are parts.
STEPS = (0, 1, 2, 5, 17, 40, 64)
SHARD_SIZES = (1, 7, 50)

Dealt = tuple[list[list[tuple[int, list[int]]]], Any]


class DealingRule(TypedDict):
    """Arguments of `ShardIndex.draw`."""

    deals_empty_parts: bool


RULES: tuple[DealingRule, ...] = ({"deals_empty_parts": True}, {"deals_empty_parts": False})


@dataclass(frozen=True)
class _Episodes:
    """As much of GR00T's episode loader as sharding asks for."""

    episode_lengths: list[int]

    def get_episode_length(self, episode: int) -> int:
        return self.episode_lengths[episode]


def find_dealing_rule(dataset: Any) -> DealingRule | None:
    """The rule by which GR00T's own class deals with this dataset's settings; None where it is none of ours."""
    lengths = [dataset.action_horizon - 1 + steps for steps in STEPS]
    expected = [_deal_as_groot(dataset, lengths, size) for size in SHARD_SIZES]
    rules = (rule for rule in RULES if expected == [_deal_by(rule, dataset, lengths, size) for size in SHARD_SIZES])
    return next(rules, None)


def _deal_as_groot(dataset: Any, lengths: list[int], shard_size: int) -> Dealt | None:
    """The shards that GR00T's own class makes of a few episodes; None where it fails."""
    copied = copy.copy(dataset)
    copied.episode_loader = _Episodes(lengths)
    copied.shard_size, copied.rng = shard_size, np.random.default_rng(0)
    try:
        with redirect_stdout(io.StringIO()):
            ShardedSingleStepDataset.shard_dataset(copied)
    except (AssertionError, ValueError):  # where shards stay empty
        return None
    return _listed(copied.sharded_episodes), copied.rng.bit_generator.state


def _deal_by(rule: DealingRule, dataset: Any, lengths: list[int], shard_size: int) -> Dealt | None:
    num_steps = count_trainable_steps(np.array(lengths), dataset.action_horizon)
    splits, rng = count_splits(dataset.episode_sampling_rate), np.random.default_rng(0)
    try:
        index = ShardIndex.draw(num_steps, shard_size=shard_size, num_splits=splits, rng=rng, **rule)
    except TrainingDataError:
        return None
    return _listed(index), rng.bit_generator.state


def _listed(shards: Any) -> list[list[tuple[int, list[int]]]]:
    return [[(int(episode), steps.tolist()) for episode, steps in entries] for entries in shards]
