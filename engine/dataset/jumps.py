"""Find jumps of joints: spikes of one frame, and angles that jump by a full turn.

`inspect` and `convert` both look for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.data_checks import Found
from millrace.engine.dataset.quantiles import column_quantiles

Floats = NDArray[np.floating]

MIN_ROWS = 8
# Of the steps that most frames take; anything less is motion or noise.
UNUSUAL_FACTOR = 10
USUAL_QUANTILE = 0.9
# Of a spike's or jump's size: what the frames before and after may differ by.
CALM_SHARE = 0.1
# Of the joint's own way in the episode, and of the widest way of its column: less is no spike that matters.
SPIKE_SHARE = 0.3
LEAST_SHARE_OF_WIDEST = 0.05
# Joints that do so more often are meant to.
MAX_SPIKES = 3
# In radians and in degrees, each with what the joint itself may move in a frame.
FULL_TURNS = ((2 * pi, 0.3), (360.0, 15.0))
MAX_TURNS = 4


@dataclass(frozen=True)
class Jump:
    """A value that does not fit the frames around it; row: the first that is off, joint: its place in the column."""

    kind: Literal["spike", "full-turn"]
    row: int
    joint: int
    size: float


def check_jumps(values: Floats, joints: Sequence[str]) -> Iterator[Found]:
    """A code and a message for each kind of jump of each joint; values: (T, D), finite. joints: their names."""
    found: dict[tuple[str, int], list[Jump]] = {}
    for jump in find_jumps(values):
        found.setdefault((jump.kind, jump.joint), []).append(jump)
    for (kind, joint), jumps in found.items():
        what = "for one frame" if kind == "spike" else "a full turn"
        more = f", and {len(jumps) - 1} more such rows" if len(jumps) > 1 else ""
        yield kind, f"{joints[joint]} jumps by {jumps[0].size:+.3g} in row {jumps[0].row}, {what}{more}"


def find_jumps(values: Floats) -> Iterator[Jump]:
    """Spikes and full turns of a column of an episode.

    Args:
        values: (T, D), finite.
    """
    if len(values) < MIN_ROWS or not values.shape[1]:
        return
    steps = np.diff(values, axis=0)
    sizes = np.abs(steps)
    usual = UNUSUAL_FACTOR * column_quantiles(sizes, [USUAL_QUANTILE])[0]
    way = np.subtract(*column_quantiles(values, [0.98, 0.02]))
    least = np.maximum(SPIKE_SHARE * way, LEAST_SHARE_OF_WIDEST * way.max())
    yield from _spikes(steps, sizes, np.maximum(usual, least))
    yield from _full_turns(values, steps, sizes, usual)


def _spikes(steps: Floats, sizes: Floats, least: Floats) -> Iterator[Jump]:
    """Frames beside which both neighbours lie on the same side, near each other."""
    size = np.minimum(sizes[:-1], sizes[1:])
    is_large = size > least
    for joint in np.flatnonzero(is_large.any(axis=0)).tolist():
        is_back = np.abs(steps[:-1, joint] + steps[1:, joint]) <= CALM_SHARE * size[:, joint]
        rows = np.flatnonzero(is_back & is_large[:, joint])
        if 0 < len(rows) <= MAX_SPIKES:
            yield from (Jump("spike", int(row) + 1, joint, float(steps[row, joint])) for row in rows)


def _full_turns(values: Floats, steps: Floats, sizes: Floats, usual: Floats) -> Iterator[Jump]:
    for turn, slack in FULL_TURNS:
        if sizes.max() < turn - slack:  # of most episodes, whose joints take no such step
            continue
        calm = np.pad(sizes, ((1, 1), (0, 0)))
        around = np.maximum(calm[:-2], calm[2:])
        is_angle = np.abs(values).max(axis=0) <= MAX_TURNS * turn
        is_turn = (np.abs(sizes - turn) <= slack) & (around <= CALM_SHARE * turn) & (sizes > usual)
        for row, joint in np.argwhere(is_turn & is_angle).tolist():
            yield Jump("full-turn", row + 1, joint, float(steps[row, joint]))
