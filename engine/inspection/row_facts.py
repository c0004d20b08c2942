"""Facts that rows give about each episode and each joint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from millrace.engine.inspection.columns import Columns, is_joints
from millrace.engine.inspection.motion import Extent, Floats

# Rows of each episode that quantiles are taken from, and values a row: 64 MB for a thousand episodes.
NUM_SAMPLES, MAX_WIDTH = 64, 128
# Beyond it differences of two values would not be finite.
MAX_VALUE = float(np.finfo(np.float32).max)
QUANTILES = (0.01, 0.99)

Samples = Mapping[str, Floats]


@dataclass(frozen=True)
class EpisodeFacts:
    """One of the episodes inspected; None where that cannot be told.

    num_idle: frames in which the robot stands still, for a second or more. lag_frames: by how much the state follows
    the action. num_idle_start, num_idle_end: still frames at the start and the end. longest_idle: frames of the longest
    still stretch of a second or more.
    """

    index: int
    num_frames: int
    num_idle: int | None = None
    lag_frames: int | None = None
    num_idle_start: int | None = None
    num_idle_end: int | None = None
    longest_idle: int | None = None


@dataclass(frozen=True)
class JointFacts:
    """One value of a column of joints over the episodes inspected, in the dataset's unit.

    place: in the column. low, high: of all rows. q01, q99: quantiles of evenly spaced rows. start, end: medians of the
    first and the last row of each episode. follows: of an action, its correlation with the state of the same joint.
    """

    name: str
    column: str
    place: int
    low: float
    high: float
    q01: float
    q99: float
    start: float | None = None
    end: float | None = None
    follows: float | None = None


def sample_rows(values: Mapping[str, Floats]) -> Samples:
    """Evenly spaced rows of each sound column of joints that is not too wide, (n, D)."""
    sampled = {}
    for name, column in values.items():
        if is_joints(name) and len(column) and column.shape[1] <= MAX_WIDTH:
            rows = np.linspace(0, len(column) - 1, min(NUM_SAMPLES, len(column))).round().astype(np.int64)
            sampled[name] = column[rows].clip(-MAX_VALUE, MAX_VALUE)
    return sampled


def list_joint_facts(
    columns: Columns, extents: Mapping[str, Extent], samples: Mapping[str, list[Floats]]
) -> Iterator[JointFacts]:
    """Facts of each joint of the columns that were sampled.

    Args:
        columns: The columns of the dataset.
        extents: Lowest and highest values over all episodes.
        samples: Rows of each episode, by column.
    """
    agreements = dict(_agreements(columns, samples))
    for column, parts in samples.items():
        low, high = extents[column]
        q01, q99 = np.quantile(np.concatenate(parts), QUANTILES, axis=0)
        start, end = (np.median([part[row] for part in parts], axis=0) for row in (0, -1))
        for place, name in enumerate(columns.joints(column)):
            yield JointFacts(
                name,
                column,
                place,
                low=float(low[place]),
                high=float(high[place]),
                q01=float(q01[place]),
                q99=float(q99[place]),
                start=float(start[place]),
                end=float(end[place]),
                follows=agreements.get((column, place)),
            )


def _agreements(columns: Columns, samples: Mapping[str, list[Floats]]) -> Iterator[tuple[tuple[str, int], float]]:
    """Correlation of each commanded joint with its state, where both move; by column and place of the action."""
    joined = {name: np.concatenate(parts) for name, parts in samples.items()}
    for pair in columns.pairs:
        (action, place), (state, observed) = pair.action, pair.state
        if action in joined and state in joined and len(joined[action]) == len(joined[state]):
            moves = joined[action][:, place], joined[state][:, observed]
            if all(np.ptp(values) > 0 for values in moves):
                yield pair.action, float(np.corrcoef(*moves)[0, 1])
