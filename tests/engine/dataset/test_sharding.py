"""GR00T's shards in numbers: when all of them get steps, and which settings make them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from millrace.engine.dataset.sharding import Sharding, count_splits, count_trainable_steps
from millrace.engine.validate.training import sharding_problems

lengths = st.lists(st.integers(1, 400), min_size=1, max_size=30).map(lambda found: np.array(found, dtype=np.int64))
some_steps = lengths.filter(lambda found: bool(found.any()))


def test_steps_leave_room_for_a_whole_action_chunk() -> None:
    assert count_trainable_steps(np.array([160, 16, 15, 1]), 16).tolist() == [145, 1, 0, 0]


@pytest.mark.parametrize(("rate", "parts"), [(0.1, 10), (0.3, 3), (1.0, 1), (0.05, 20), (0.07, 14)])
def test_a_rate_cuts_episodes_into_so_many_parts(rate: float, parts: int) -> None:
    assert count_splits(rate) == parts


def test_an_episode_shorter_than_its_parts_fills_only_as_many_shards_as_it_has_steps() -> None:
    assert not Sharding(np.array([5, 5]), 1, 1 / 4).fills_all
    assert Sharding(np.array([5, 5]), 1, 1 / 5).fills_all
    assert Sharding(np.array([5, 0]), 1, 1 / 10).num_parts == 5


def test_the_case_of_issue_654_is_told_with_settings_that_work() -> None:
    # 18 long episodes in 10 parts each, 440 shards.
    sharding = Sharding(np.full(18, 25_000), 1024, 0.1)
    (found,) = sharding_problems("data", sharding)
    assert "450,000 steps make 440 shards of 1,024, but episodes are cut into 180 parts only" in found.message
    assert "All shards must have length greater than 0" in found.message
    assert found.remedy == "Train by millrace finetune --shard-size 2500, or --episode-sampling-rate 0.04"
    assert replace(sharding, shard_size=2500).fills_all
    assert replace(sharding, sampling_rate=0.04).fills_all


@given(some_steps, st.integers(1, 40))
def test_the_smallest_shard_size_works_and_one_less_does_not(steps: NDArray[np.int64], parts: int) -> None:
    sharding = Sharding(steps, 1, 1 / parts)
    size = sharding.smallest_shard_size
    assert replace(sharding, shard_size=size).fills_all
    assert size == 1 or not replace(sharding, shard_size=size - 1).fills_all


@given(some_steps, st.integers(1, 200))
def test_the_largest_rate_works(steps: NDArray[np.int64], size: int) -> None:
    rate = Sharding(steps, size, 1.0).largest_sampling_rate
    assert 0 < rate <= 1
    assert Sharding(steps, size, rate).fills_all
