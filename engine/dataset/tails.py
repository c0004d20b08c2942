"""Exact quantiles near both ends of columns too long for memory: only numbers beyond a bound are kept.

A sample tells where to cut, and counts tell whether enough lies beyond: then the quantiles are those of all numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import IO

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float32]

# Of both ends.
SHARE = 0.01
# By how many standard errors of a sample more is kept than should be needed; where that is too few, all is read again.
NUM_ERRORS = 4.0
MAX_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Cuts:
    """Numbers below `low`, and above `high`, are kept, (C,) float32 each; equal ones are counted."""

    low: Column
    high: Column

    @classmethod
    def none(cls, num_columns: int) -> "Cuts":
        """All numbers are kept."""
        return cls(np.full(num_columns, np.inf, np.float32), np.full(num_columns, -np.inf, np.float32))

    @classmethod
    def of_sample(cls, columns: Sequence[Column], share: float) -> "Cuts":
        """Cut off that share at both ends of a sample of each column; all of what the sample lacks."""
        known = [column if len(column) else np.array([np.inf, -np.inf], np.float32) for column in columns]
        ends = [np.quantile(column, [share, 1 - share], method="nearest") for column in known]
        low, high = np.array(ends, np.float32).reshape(-1, 2).T
        is_known = np.array([len(column) > 0 for column in columns], bool)
        return cls(low, high).without(~is_known)

    def without(self, columns: NDArray[np.bool_]) -> "Cuts":
        """No cuts in some columns, (C,)."""
        return Cuts(np.where(columns, np.inf, self.low), np.where(columns, -np.inf, self.high))


def kept_share(*, num_sampled: int, num_episodes: int, num_rows: int) -> float:
    """The share to keep at each end, by a sample of `num_rows` rows in all of `num_sampled` of the episodes."""
    between, within = (1 - num_sampled / num_episodes) / num_sampled, 1 / num_rows
    return min(MAX_SHARE, SHARE + NUM_ERRORS * sqrt(SHARE * (1 - SHARE) * (between + within)))


@dataclass(frozen=True, eq=False)
class Tails:
    """Both ends of a block's columns: numbers beyond the cuts one column after the other, and counts.

    kept: (K,) float32, those above as their negatives. num_kept, num_equal: (C, 2) of each column's ends.
    """

    kept: Column
    num_kept: NDArray[np.int64]
    num_equal: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Iterable[Column], cuts: Cuts) -> "Tails":
        """The ends of columns, (N,) each."""
        ends = [
            _beyond(values, cut)
            for column, low, high in zip(columns, cuts.low, cuts.high, strict=True)
            for values, cut in ((column, low), (-column, -high))
        ]
        sizes = np.array([len(kept) for kept, _ in ends], np.int64).reshape(-1, 2)
        equal = np.array([num for _, num in ends], np.int64).reshape(-1, 2)
        return cls(np.concatenate([kept for kept, _ in ends]), sizes, equal)


def _beyond(values: Column, cut: np.float32) -> tuple[Column, int]:
    kept = values[values < cut]
    return kept, int(np.count_nonzero(values <= cut)) - len(kept)


class TailStore:
    """Tails of many blocks in a file, of which one column is read at a time."""

    def __init__(self, file: IO[bytes], cuts: Cuts) -> None:
        self._file, self.cuts = file, cuts
        self._blocks: list[
            tuple[int, NDArray[np.int64]]
        ] = []  # offset in the file, end of each column's ends in numbers
        self.num_kept = np.zeros((len(cuts.low), 2), np.int64)
        self.num_equal = np.zeros_like(self.num_kept)

    def append(self, tails: Tails) -> None:
        """Add a block's."""
        self._blocks.append((self._file.tell(), np.cumsum(tails.num_kept.ravel())))
        self._file.write(tails.kept.tobytes())
        self.num_kept += tails.num_kept
        self.num_equal += tails.num_equal

    def is_enough(self, count: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the quantiles of columns of `count` numbers lie in what is kept, (C,)."""
        needed = np.floor((np.maximum(count, 1) - 1) * SHARE).astype(np.int64) + 2
        return np.asarray((self.num_kept + self.num_equal).min(axis=1) >= np.minimum(needed, count))

    def quantiles(self, column: int, count: int) -> tuple[np.float64, np.float64]:
        """The quantiles SHARE and 1 - SHARE of a column of `count` numbers, as `np.quantile` gives them."""
        return self._ranked(column, 0, (count - 1) * SHARE, count), self._ranked(
            column, 1, (count - 1) * (1 - SHARE), count
        )

    def _ranked(self, column: int, end: int, place: float, count: int) -> np.float64:
        """The number at a place between two ranks, interpolated."""
        below = int(np.floor(place))
        ranks = [below, min(below + 1, count - 1)]
        if end:
            ranks = [count - 1 - rank for rank in ranks]
        kept = self._read(column, end)
        inside = sorted({rank for rank in ranks if rank < len(kept)})
        if inside:
            kept.partition(inside)
        cut = -self.cuts.high[column] if end else self.cuts.low[column]
        pair = np.array([kept[rank] if rank < len(kept) else cut for rank in ranks], np.float32)
        # Of two numbers it interpolates as between these two of all.
        return np.float64(np.quantile(-pair if end else pair, [place - below])[0])

    def _read(self, column: int, end: int) -> Column:
        number = 2 * column + end
        self._file.flush()
        parts = []
        for offset, ends in self._blocks:
            start = int(ends[number - 1]) if number else 0
            if num := int(ends[number]) - start:
                self._file.seek(offset + start * np.dtype(np.float32).itemsize)
                parts.append(np.fromfile(self._file, np.float32, num))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
