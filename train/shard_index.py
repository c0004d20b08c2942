"""Which steps of which episodes lie in each shard: GR00T's own shards, parts and order, in little memory.

GR00T keeps an array for each part of each episode: a million at 100,000 episodes, in every process. Here an episode
costs 21 bytes, the state of the random generator from which its steps are shuffled again when a shard is read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy
from millrace.train.training_dataset import TrainingDataError

# A state of numpy's PCG64: 128 bits, and the second half of a 64-bit draw where only the first was used.
STATE = np.dtype([("high", np.uint64), ("low", np.uint64), ("has_half", np.uint8), ("half", np.uint32)])
HALF = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The shards of one dataset (gr00t/data/dataset/sharded_single_step_dataset.py, shard_dataset).

    Args:
        order: Episodes, by their place in episodes.jsonl, in the order in which they are dealt, (N,).
        num_steps: Trainable steps of each, in that order, (N,).
        num_splits: Parts that an episode is cut into.
        states: The generator's state before each one's steps are shuffled, (N,) of STATE.
        increment: What identifies the generator's sequence.
        parts: Shard after shard the parts in it, each as place in `order` x num_splits + split; (N x num_splits,), or
            fewer where those without steps are in no shard.
        bounds: Where each shard begins in `parts`, and where the last ends, (num_shards + 1,).
        shard_lengths: Steps of each shard, (num_shards,).
    """

    order: NDArray[np.int64]
    num_steps: NDArray[np.int64]
    num_splits: int
    states: NDArray[np.void]
    increment: int
    parts: NDArray[np.unsignedinteger[Any]]
    bounds: NDArray[np.int64]
    shard_lengths: NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        num_steps: NDArray[np.int64],
        *,
        shard_size: int,
        num_splits: int,
        rng: np.random.Generator,
        deals_empty_parts: bool = True,
    ) -> "ShardIndex":
        """Deal every episode's steps into shards, with the random numbers that GR00T draws.

        Args:
            num_steps: Trainable steps of each episode, (N,).
            shard_size: Steps due in a shard.
            num_splits: Parts that an episode is cut into.
            rng: As `numpy.random.default_rng` makes it.
            deals_empty_parts: Parts without steps are dealt, too, as N1.6 does. Else there are no more shards than
                parts with steps, as in N1.7 since May 2026.

        Raises:
            TrainingDataError: there are no steps, or fewer parts with steps than shards.
        """
        num_shards = math.ceil(int(num_steps.sum()) / shard_size)
        if not num_shards:
            raise TrainingDataError("no episode is as long as an action chunk")
        order = rng.permutation(len(num_steps))
        dealt = num_steps[order]
        part_lengths = _part_lengths(dealt, num_splits)
        parts = np.arange(len(part_lengths)) if deals_empty_parts else np.flatnonzero(part_lengths)
        if not deals_empty_parts:
            num_shards = min(num_shards, len(parts))
        shards = np.fromiter(_deal(part_lengths[parts], num_shards), np.int32, count=len(parts))
        lengths = np.bincount(shards, weights=part_lengths[parts], minlength=num_shards).astype(np.int64)
        if not lengths.all():
            raise TrainingDataError(
                "All shards must have length greater than 0: ", Remedy("pass a smaller --episode-sampling-rate")
            )
        increment = rng.bit_generator.state["state"]["inc"]
        return cls(
            order=order,
            num_steps=dealt,
            num_splits=num_splits,
            states=_shuffle_states(dealt, rng),
            increment=increment,
            parts=parts[np.argsort(shards, kind="stable")].astype(np.min_scalar_type(len(part_lengths))),
            bounds=np.concatenate([[0], np.bincount(shards, minlength=num_shards).cumsum()]),
            shard_lengths=lengths,
        )

    def __len__(self) -> int:
        return len(self.shard_lengths)

    def __getitem__(self, shard: int) -> list[tuple[int, NDArray[np.int64]]]:
        """A shard's entries: an episode, by its place in episodes.jsonl, and the steps of one part of it.

        Raises:
            IndexError: there is no such shard.
        """
        if not 0 <= shard < len(self):
            raise IndexError(f"shard {shard} of {len(self)}")
        generator = np.random.default_rng(0)
        entries: list[tuple[int, NDArray[np.int64]]] = []
        shuffled: tuple[int, NDArray[np.int64]] | None = None
        for part in self.parts[self.bounds[shard] : self.bounds[shard + 1]].tolist():
            place, split = divmod(part, self.num_splits)
            if shuffled is None or shuffled[0] != place:
                shuffled = place, self._shuffle(place, generator)
            entries.append((int(self.order[place]), shuffled[1][split :: self.num_splits]))
        return entries

    def __iter__(self) -> Iterator[list[tuple[int, NDArray[np.int64]]]]:
        return map(self.__getitem__, range(len(self)))

    @property
    def num_bytes(self) -> int:
        """Memory that it takes, but for a few hundred bytes."""
        return sum(values.nbytes for values in vars(self).values() if isinstance(values, np.ndarray))

    def _shuffle(self, place: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """The steps of the episode at a place, shuffled as when the index was drawn."""
        generator.bit_generator.state = _unpack(self.states[place], self.increment)
        steps = np.arange(self.num_steps[place])
        generator.shuffle(steps)
        return steps


def _deal(lengths: NDArray[np.int64], num_shards: int) -> Iterator[int]:
    """The shard of each part: the shortest so far, of equally short ones the first."""
    # Length and number of each shard in one whole number, which orders by both.
    shards = list(range(num_shards))
    for length in lengths.tolist():
        shortest = shards[0]
        heapreplace(shards, shortest + length * num_shards)
        yield shortest % num_shards


def _part_lengths(num_steps: NDArray[np.int64], num_splits: int) -> NDArray[np.int64]:
    """Steps of each part, (N x num_splits,): every num_splits-th of an episode's."""
    whole, longer = np.divmod(num_steps, num_splits)
    return (whole[:, None] + (np.arange(num_splits) < longer[:, None])).ravel()


def _shuffle_states(num_steps: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.void]:
    """The generator's state before each shuffle; it ends where it ends after GR00T's."""
    states = np.empty(len(num_steps), STATE)
    shuffled = np.arange(num_steps.max())
    for place, length in enumerate(num_steps.tolist()):
        states[place] = _pack(rng.bit_generator.state)
        rng.shuffle(shuffled[:length])
    return states


def _pack(state: Any) -> tuple[int, int, int, int]:
    bits = state["state"]["state"]
    return bits >> 64, bits & HALF, state["has_uint32"], state["uinteger"]


def _unpack(packed: np.void, increment: int) -> dict[str, Any]:
    high, low, has_half, half = packed.item()
    return {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": increment},
        "has_uint32": has_half,
        "uinteger": half,
    }
