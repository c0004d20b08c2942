"""The index of shards: GR00T's shards, parts and order, drawn from the same random numbers, in little memory."""

import json
import pickle
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.train.json_lines import JsonLines
from millrace.train.shard_index import ShardIndex
from millrace.train.training_dataset import TrainingDataError

Shards = list[list[tuple[int, list[int]]]]


def deal_one_by_one(
    num_steps: list[int],
    shard_size: int,
    num_splits: int,
    seed: int,
    deals_empty_parts: bool,
    has_first_round: bool = False,
) -> tuple[Shards, object]:
    """What GR00T does, as plainly as it can be written; and the generator's state after it.

    has_first_round: each shard gets a part before any gets a second, as N1.7 has it since July 2026.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(num_steps)).tolist()
    parts: list[tuple[int, list[int]]] = []
    for episode in order:
        steps = np.arange(num_steps[episode])
        rng.shuffle(steps)
        parts += [(episode, steps[split::num_splits].tolist()) for split in range(num_splits)]
    num_shards = ceil(sum(num_steps) / shard_size)
    if not deals_empty_parts:
        parts = [(episode, part) for episode, part in parts if part]
        num_shards = min(num_shards, len(parts))
    shards: Shards = [[] for _ in range(num_shards)]
    lengths = [0] * num_shards
    for number, (episode, part) in enumerate(parts):
        is_first_round = has_first_round and number < num_shards
        shortest = number if is_first_round else lengths.index(min(lengths))
        shards[shortest].append((episode, part))
        lengths[shortest] += len(part)
    return shards, rng.bit_generator.state


def listed(index: ShardIndex) -> Shards:
    return [[(episode, steps.tolist()) for episode, steps in entries] for entries in index]


@settings(max_examples=200, deadline=None)
@given(
    num_steps=st.lists(st.integers(0, 90), min_size=1, max_size=40),
    shard_size=st.integers(1, 200),
    num_splits=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    deals_empty_parts=st.booleans(),
)
def test_shards_parts_and_steps_are_those_dealt_one_by_one(
    num_steps: list[int], shard_size: int, num_splits: int, seed: int, deals_empty_parts: bool
) -> None:
    dealing = num_steps, shard_size, num_splits, seed, deals_empty_parts
    expected, drawn = deal_one_by_one(*dealing) if sum(num_steps) else ([], None)
    if expected and not deals_empty_parts:
        assert deal_one_by_one(*dealing, has_first_round=True) == (expected, drawn), "both come to the same"
    rng = np.random.default_rng(seed)
    sizes = {"shard_size": shard_size, "num_splits": num_splits}
    try:
        index = ShardIndex.draw(np.array(num_steps), **sizes, rng=rng, deals_empty_parts=deals_empty_parts)
    except TrainingDataError:
        assert deals_empty_parts or not expected
        assert not all(any(steps for _, steps in shard) for shard in expected) or not expected
        return
    assert listed(index) == expected
    assert index.shard_lengths.tolist() == [sum(len(steps) for _, steps in shard) for shard in expected]
    assert rng.bit_generator.state == drawn, "whatever is drawn later is the same, too"


def test_shards_are_read_in_any_order_and_after_pickling() -> None:
    lengths = np.random.default_rng(1).integers(0, 70_000, 30)
    index = ShardIndex.draw(lengths, shard_size=5000, num_splits=10, rng=np.random.default_rng(2))
    copied: ShardIndex = pickle.loads(pickle.dumps(index))
    expected = listed(index)
    assert listed(copied)[::-1] == [
        [(episode, steps.tolist()) for episode, steps in copied[number]] for number in reversed(range(len(copied)))
    ]
    assert listed(copied) == expected
    assert len(copied) == len(expected)
    for number in (-1, len(index)):
        with pytest.raises(IndexError, match=f"shard {number} of {len(index)}"):
            index[number]


def test_an_index_takes_a_fraction_of_the_arrays_that_it_stands_for() -> None:
    index = ShardIndex.draw(np.full(1000, 250), shard_size=1024, num_splits=10, rng=np.random.default_rng(0))
    arrays = sum(len(pickle.dumps(steps)) for entries in index for _, steps in entries)
    assert len(pickle.dumps(index)) < index.num_bytes + 4096 < arrays / 20


@pytest.mark.parametrize(
    ("num_steps", "shard_size", "message"),
    [([0, 0], 4, "no episode is as long as an action chunk"), ([3, 2], 1, "All shards must have length")],
)
def test_data_that_makes_no_shards_is_an_error(num_steps: list[int], shard_size: int, message: str) -> None:
    with pytest.raises(TrainingDataError, match=message):
        ShardIndex.draw(np.array(num_steps), shard_size=shard_size, num_splits=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("end", ["", "\n"])
def test_json_lines_are_parsed_when_asked_for(end: str, tmp_path: Path) -> None:
    values = [{"episode_index": number, "tasks": [f"Öffne {number}", "b"]} for number in range(5)]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(value, ensure_ascii=False) for value in values) + end)
    lines: JsonLines = pickle.loads(pickle.dumps(JsonLines(tmp_path / "x.jsonl")))
    assert list(lines) == values
    assert (len(lines), lines[3]) == (5, values[3])
    for line in (-1, 5):
        with pytest.raises(IndexError, match=f"line {line} of 5"):
            lines[line]
