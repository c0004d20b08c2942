"""Statistics of columns as exact numbers, and whether stored ones are those, up to what LeRobot's sums may be off by.

LeRobot adds up in float32, takes std from the mean of squares, and quantiles from histograms of 5000 bins (lerobot
0.6.1, datasets/compute_stats.py, RunningQuantileStats): tolerances are the bounds of these errors, so that nothing is
called stale that LeRobot wrote of the same rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.stats import QUANTILES, ROUNDING, TOLERANCE

MOMENTS = ("min", "max", "mean", "std")
STATISTICS = (*MOMENTS, "count", *QUANTILES)
# Of max - min: a sum of rounded numbers; and a bin of LeRobot's histograms, with the rounding of its edges.
SUM_SHARE, BIN_SHARE = 1e-3, 2.1e-4
# Its histograms begin and end so far outside of the values.
PADDING = 1e-9
# Of the largest magnitude, for each number that is added up in float32.
FLOAT32_STEP = 2.0**-24

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class RowSummary:
    """Statistics of D columns of N rows.

    low, high, mean, std: (D,). below, above: the values next to each quantile's place in the order, (5, D).
    num_added: numbers that LeRobot adds up at a time, which is what its rounding grows with.
    """

    low: Floats
    high: Floats
    mean: Floats
    std: Floats
    below: Floats
    above: Floats
    num_rows: int
    num_added: int


def summarize_rows(values: NDArray[Any]) -> RowSummary:
    """The summary of (N, D) finite numbers, N at least 1; they are sorted in a copy."""
    return _summarize_sorted(np.sort(values, axis=0), len(values))


def summarize_sorted_column(values: NDArray[np.float32], num_added: int) -> RowSummary:
    """The summary of one column, (N,) sorted."""
    return _summarize_sorted(values[:, None], num_added)


def _summarize_sorted(values: NDArray[Any], num_added: int) -> RowSummary:
    doubles = values if values.dtype == np.float64 else values.astype(np.float64)
    places = np.array(list(QUANTILES.values())) * (len(values) - 1)
    below, above = (values[np.asarray(step(places), np.int64)].astype(np.float64) for step in (np.floor, np.ceil))
    return RowSummary(
        low=doubles[0],
        high=doubles[-1],
        mean=doubles.mean(axis=0),
        std=doubles.std(axis=0),
        below=below,
        above=above,
        num_rows=len(values),
        num_added=num_added,
    )


def stack_summaries(columns: list[RowSummary]) -> RowSummary:
    """Several columns of equally many rows as one summary."""
    names = ("low", "high", "mean", "std", "below", "above")
    joined = {name: np.concatenate([getattr(column, name) for column in columns], axis=-1) for name in names}
    return RowSummary(**joined, num_rows=columns[0].num_rows, num_added=columns[0].num_added)


@dataclass(frozen=True)
class Difference:
    """A stored number that the rows do not give: of which statistic and which column."""

    stat: str
    column: int
    stored: float
    exact: float

    def __str__(self) -> str:
        return f"{self.stat} is {self.stored:g} at [{self.column}], but the rows give {self.exact:g}"


def find_differences(stored: Mapping[str, Floats], exact: RowSummary) -> Iterator[Difference]:
    """The first wrong number of each statistic that is stored; stored: (D,) each, the count (1,)."""
    magnitude = np.maximum(np.abs(exact.low), np.abs(exact.high))
    spread = exact.high - exact.low
    slack = ROUNDING * magnitude + TOLERANCE * spread + PADDING
    drift = exact.num_added * FLOAT32_STEP * magnitude
    right = {"min": exact.low, "max": exact.high, "mean": exact.mean, "std": exact.std}
    for stat, values in stored.items():
        if stat == "count":
            if values[0] != exact.num_rows:
                yield Difference(stat, 0, float(values[0]), exact.num_rows)
            continue
        if stat in QUANTILES:
            is_right, near = _is_quantile(values, stat, exact, slack + BIN_SHARE * spread)
        else:
            near = right[stat]
            sums = slack + SUM_SHARE * spread + drift
            is_right = np.abs(values - near) <= (slack if stat in ("min", "max") else sums)
            if stat == "std":  # from a difference of two sums of squares
                is_right |= np.abs(values**2 - near**2) <= 3 * drift * magnitude
        for place in np.flatnonzero(~is_right)[:1].tolist():
            yield Difference(stat, place, float(values[place]), float(near[place]))


def _is_quantile(values: Floats, stat: str, exact: RowSummary, slack: Floats) -> tuple[NDArray[np.bool_], Floats]:
    number = list(QUANTILES).index(stat)
    below, above = exact.below[number], exact.above[number]
    return (values >= below - slack) & (values <= above + slack), below
