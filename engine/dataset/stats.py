"""Exact statistics: of an episode for LeRobot, of all rows for GR00T, a column in memory at a time."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
# Of LeRobot v3.0.
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Sums are taken in float64, a block at a time.
BLOCK_ROWS = 1 << 20
# Of the largest magnitude: a few roundings to float32.
ROUNDING = 1e-6
# Of max - min: what the interpolation of quantiles may differ by.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class ColumnSummary:
    """LeRobot's statistics of one feature in one episode: lists of numbers, nested for cameras."""

    min: list[Any]
    max: list[Any]
    mean: list[Any]
    std: list[Any]
    count: list[int]


def summarize_columns(values: NDArray[Any]) -> ColumnSummary:
    """Statistics over axis 0 of (T, D) or (T,) values; the latter count as D = 1."""
    columns = replace_truth(values.reshape(len(values), -1))
    doubles = columns.astype(np.float64)
    return ColumnSummary(
        min=columns.min(axis=0).tolist(),
        max=columns.max(axis=0).tolist(),
        mean=doubles.mean(axis=0).tolist(),
        std=doubles.std(axis=0).tolist(),
        count=[len(columns)],
    )


def replace_truth(values: NDArray[Any]) -> NDArray[Any]:
    """Truth values as 0 and 1, other values as they are: JSON's readers expect numbers of statistics."""
    return values.view(np.uint8) if values.dtype == np.bool_ else values


@dataclass(frozen=True)
class Statistics:
    """What GR00T normalises with; of one column a number each, of a feature arrays of its shape.

    std has ddof 0; quantiles are interpolated linearly.
    """

    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    q01: Floats
    q99: Floats

    @property
    def magnitude(self) -> Floats:
        """The largest absolute value."""
        largest: Floats = np.maximum(np.abs(self.min), np.abs(self.max))
        return largest

    @property
    def slack(self) -> Floats:
        """The tolerance within which values are equal, from their magnitude and range."""
        return ROUNDING * self.magnitude + TOLERANCE * np.abs(self.max - self.min)

    def take(self, start: int, shape: tuple[int, ...]) -> "Statistics":
        """Those of as many columns from `start` on as such an array holds, as arrays of that shape."""
        stop = start + prod(shape)
        return Statistics(**{name: values[start:stop].reshape(shape) for name, values in vars(self).items()})

    def to_json(self) -> dict[str, list[Any]]:
        """Nested lists, rounded to float32 as GR00T reads them."""
        return {name: np.asarray(values, np.float32).tolist() for name, values in asdict(self).items()}
