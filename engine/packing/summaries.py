"""LeRobot v3.0's statistics, exact: of an episode, and of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.video.histogram import LEVELS

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)

# A feature's statistics by name: lists of numbers, one for each value; nested (3, 1, 1) for cameras.
Summary = dict[str, list[Any]]


def summarize_values(values: NDArray[Any]) -> Summary:
    """Statistics over axis 0 of (T, D) or (T,) numbers; the latter count as D = 1. std has ddof 0."""
    columns = values.reshape(len(values), -1)
    found = [summarize_column(columns[:, number]) for number in range(columns.shape[1])]
    return stack_columns(found)


def summarize_column(values: NDArray[Any]) -> dict[str, float]:
    """Statistics of (N,) numbers; quantiles are interpolated linearly."""
    doubles = values.astype(np.float64)
    quantiles = np.quantile(doubles, list(QUANTILES.values()))
    mean = doubles.mean()
    low, high = (values.min().item(), values.max().item())
    moments = {"min": low, "max": high, "mean": float(mean), "std": float(doubles.std()), "count": len(values)}
    return moments | dict(zip(QUANTILES, quantiles.tolist(), strict=True))


def stack_columns(columns: Sequence[Mapping[str, float]]) -> Summary:
    """Statistics of a feature's columns as one; their count is that of the rows."""
    joined = {name: [column[name] for column in columns] for name in NAMES}
    return joined | {"count": [columns[0]["count"]]}


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """How often each level of each channel occurs, (3, 256), in some frames of a camera."""

    counts: NDArray[np.int64]
    num_frames: int

    def __add__(self, other: "LevelCounts") -> "LevelCounts":
        return LevelCounts(self.counts + other.counts, self.num_frames + other.num_frames)

    def summary(self) -> Summary:
        """Statistics of each channel, levels scaled to 0..1; each (3, 1, 1), the count that of the frames."""
        channels = [_summarize_counts(channel) for channel in self.counts]
        nested = {name: [[[channel[name]]] for channel in channels] for name in NAMES if name != "count"}
        return nested | {"count": [self.num_frames]}


def _summarize_counts(counts: NDArray[np.int64]) -> dict[str, float]:
    total, present = int(counts.sum()), np.flatnonzero(counts)
    mean = float(counts @ LEVELS / total)
    variance = float(counts @ (LEVELS - mean) ** 2 / total)
    quantiles = {name: _quantile(counts, share) for name, share in QUANTILES.items()}
    moments = {"min": LEVELS[present[0]].item(), "max": LEVELS[present[-1]].item(), "mean": mean}
    return moments | {"std": float(np.sqrt(variance))} | quantiles


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """As np.quantile of the pixels themselves."""
    ends = np.cumsum(counts)
    place = share * (int(ends[-1]) - 1)
    below, above = LEVELS[np.searchsorted(ends, [np.floor(place), np.ceil(place)], side="right")]
    return float(below + (above - below) * (place - np.floor(place)))
