"""Find values beyond the limits of a robot's joints: most often they have another unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import JointMap
from millrace.embodiments.robot import TWO_TURNS
from millrace.engine.text import join_names

# Sensors, calibrations and commands go a little beyond; another unit goes far beyond.
MARGIN = 0.1
MAX_PERCENT = 110.0
MAX_DEGREES = 400.0
UNKNOWN = "another unit, calibration or robot?"


@dataclass(frozen=True)
class Beyond:
    """A joint that goes from low to high, though it is expected within a range."""

    joint: str
    low: float
    high: float
    expected: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.expected
        return f"'{self.joint}' goes from {self.low:.4g} to {self.high:.4g}, expected {low:.4g} to {high:.4g}"

    @property
    def guess(self) -> str:
        """The likely cause."""
        reach, expected = max(abs(self.low), abs(self.high)), max(map(abs, self.expected))
        if self.expected[1] == 1:
            return "0..100 in place of 0..1?" if 10 < reach <= MAX_PERCENT else UNKNOWN
        if self.expected[0] <= -self.high and -self.low <= self.expected[1]:
            return "the opposite sign?"
        if TWO_TURNS[1] < reach <= MAX_DEGREES and expected <= TWO_TURNS[1]:
            return "degrees in place of radians?"
        return UNKNOWN


def find_beyond(
    low: NDArray[np.floating], high: NDArray[np.floating], limits: NDArray[np.float64], joints: Sequence[str]
) -> tuple[Beyond, ...]:
    """The joints that go beyond their limits by more than MARGIN of the range; the farthest first.

    Args:
        low: Lowest value of each joint, shape (D,).
        high: Highest value of each joint, likewise.
        limits: [low, high] expected of each joint, shape (D, 2); infinite where nothing is known.
        joints: Names, D of them.
    """
    bounded = np.flatnonzero(np.isfinite(limits).all(axis=1))
    span = limits[bounded, 1] - limits[bounded, 0]
    excess = np.maximum(limits[bounded, 0] - low[bounded], high[bounded] - limits[bounded, 1]) / span
    order = np.argsort(-excess, kind="stable")
    return tuple(
        Beyond(joints[column], low[column].item(), high[column].item(), (limits[column, 0], limits[column, 1]))
        for column in bounded[order[excess[order] > MARGIN]].tolist()
    )


def describe_beyond(vector: str, beyond: Sequence[Beyond]) -> str:
    """One line about the joints of a vector."""
    farthest = beyond[0]
    others = f"; so do {join_names([one.joint for one in beyond[1:]], 4)}" if len(beyond) > 1 else ""
    return f"{vector}: {farthest} ({farthest.guess}){others}"


def warn_beyond(
    vector: str, values: NDArray[np.floating], joint_map: JointMap, joints: Sequence[str]
) -> tuple[str, ...]:
    """Warn of an episode whose joints go beyond the ranges that a map expects: one line, or none.

    Args:
        vector: "state" or "action".
        values: The source's, shape (T, D) in the source robot's order.
        joint_map: That maps it. Joints that drive nothing are not judged.
        joints: The source robot's, D of them.
    """
    is_source = joint_map.gather < len(joints)
    used, first = np.unique(joint_map.gather[is_source], return_index=True)
    if not len(values) or not len(used):
        return ()
    limits = joint_map.limits[is_source][first]
    beyond = find_beyond(
        values[:, used].min(axis=0), values[:, used].max(axis=0), limits, [joints[column] for column in used]
    )
    return (describe_beyond(vector, beyond),) if beyond else ()
