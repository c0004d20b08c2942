"""Sums, minima and maxima of many columns, of a block of rows at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of C columns of numbers, which may be of unequal length.

    count: numbers, (C,) int64. total: their sum, (C,). squares: the sum of squared deviations from their own mean,
    (C,). low, high: minimum and maximum, (C,); of no numbers infinity, and minus infinity.
    """

    count: NDArray[np.int64]
    total: Doubles
    squares: Doubles
    low: Doubles
    high: Doubles

    @classmethod
    def of(cls, columns: Iterable[Column]) -> "Moments":
        """Those of columns of finite numbers, (N,) each."""
        values = [_summarize(column) for column in columns]
        count, total, squares, low, high = np.array(values, np.float64).reshape(-1, 5).T
        return cls(count.astype(np.int64), total, squares, low, high)

    def merge(self, other: "Moments") -> "Moments":
        """Those of both together, without loss where means lie far from 0 (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        weight = self.count * (other.count / np.maximum(count, 1))
        return Moments(
            count=count,
            total=self.total + other.total,
            squares=self.squares + other.squares + (other.mean - self.mean) ** 2 * weight,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
        )

    @property
    def mean(self) -> Doubles:
        """Means, (C,); 0 of no numbers."""
        return np.asarray(self.total / np.maximum(self.count, 1))

    @property
    def std(self) -> Doubles:
        """Standard deviations with ddof 0, (C,)."""
        return np.asarray(np.sqrt(self.squares / np.maximum(self.count, 1)))


def _summarize(values: Column) -> tuple[float, float, float, float, float]:
    if not len(values):
        return 0, 0.0, 0.0, np.inf, -np.inf
    total = float(values.sum(dtype=np.float64))
    squares = np.square(values.astype(np.float64) - total / len(values)).sum()
    return len(values), total, float(squares), float(values.min()), float(values.max())
