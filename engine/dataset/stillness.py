"""When a robot stands still, by its state and its action; `inspect` and `convert` measure it alike.

Each joint has a tolerance in its own unit. A robot stands still for as long as no joint leaves a band as wide as its
tolerance, so that over a still stretch nothing moves by more, however slowly. What an episode shows does not depend on
other episodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, Robot, Vector
from millrace.embodiments.robot import ActionKind

Floats = NDArray[np.float64]

# By the first word of a unit: half a degree, two millimetres. Encoders and hands that rest jitter by less.
UNIT_TOLERANCES = {
    **dict.fromkeys(("rad", "radian", "radians"), 0.01),
    **dict.fromkeys(("deg", "degree", "degrees"), 0.5),
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 0.002),
    "mm": 2.0,
    **dict.fromkeys(("percent", "%"), 1.0),
    **dict.fromkeys(("normalised", "normalized", "share"), 0.01),
}
# A robot file's limits say how far a joint goes: a narrow one has a narrower band than its unit.
LIMITS_SHARE = 0.01
# Steps without a unit are shares of the controller's largest, which takes about a twentieth of a second.
STEP_TOLERANCE = 0.05
# Frames that are looked at first for where a stretch ends; twice as many each time after that.
FIRST_FRAMES = 64


@dataclass(frozen=True)
class Tolerance:
    """The width of the band within which a group's joints count as still. unit: the group's, for people."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit.split(',')[0]}".strip()  # "normalised, 0 closed 1 open"


@dataclass(frozen=True, eq=False)
class StillBands:
    """The band of each value of a robot's state and action.

    widths: by vector, shape (D,); NaN where nothing is known. kinds: by vector, whether values are positions, steps or
    velocities, D of them. groups: the tolerances by joint group, in words for people.
    """

    widths: Mapping[Vector, Floats]
    kinds: Mapping[Vector, tuple[ActionKind, ...]]
    groups: Mapping[str, Tolerance] = field(default_factory=dict)

    def positions(self, vector: Vector, values: NDArray[np.floating], *, used: NDArray[np.int64], fps: float) -> Floats:
        """Values as positions in widths of their bands: steps and velocities are summed up to paths.

        Args:
            vector: "state" or "action".
            values: (T, D), in the robot's order and units.
            used: Places in [0, D) that count, (K,).
            fps: Rate of the rows, Hz.

        Returns:
            (T, K).
        """
        chosen = values[:, used].astype(np.float64)
        kinds = np.array(self.kinds[vector])[used]
        is_rate = kinds != "target"
        seconds = np.where(kinds == "velocity", 1 / fps, 1.0)
        chosen[:, is_rate] = np.cumsum(chosen[:, is_rate] * seconds[is_rate], axis=0)
        return np.asarray(chosen / self.widths[vector][used])

    def unknown(self, robot: Robot, vector: Vector, used: NDArray[np.int64]) -> tuple[str, ...]:
        """Groups with used values of which no band is known."""
        lacking = set(used[np.isnan(self.widths[vector][used])].tolist())
        slices = robot.layout(vector).slices
        return tuple(name for name, place in slices.items() if lacking & set(range(place.start, place.stop)))


def still_bands(robot: Robot, given: Mapping[str, float]) -> StillBands:
    """The bands of a robot's joints; given: widths by joint group, in the group's unit, that replace its own."""
    widths = {vector: _widths(robot, vector, given) for vector in VECTORS}
    groups = {}
    for name, group in robot.groups.items():
        own = [widths[vector][place] for vector in VECTORS if (place := robot.layout(vector).slices.get(name))]
        known = np.concatenate(own)
        if not np.isnan(known).all():
            groups[name] = Tolerance(float(np.nanmin(known)), group.unit)
    kinds = {vector: tuple(_kinds(robot, vector)) for vector in VECTORS}
    return StillBands(widths, kinds, groups)


def still_stretches(positions: Floats, *, min_frames: int) -> NDArray[np.int64]:
    """Stretches [start, stop) of at least `min_frames` frames in which no joint leaves its band, none overlaps another.

    Each begins as early as it can after the one before, and is as long as it can be.

    Args:
        positions: (T, D), in widths of each joint's band.
        min_frames: At least 1.

    Returns:
        Shape (n, 2), rising.
    """
    if len(positions) < min_frames:
        return np.empty((0, 2), dtype=np.int64)
    highest, lowest = (_over_windows(extreme, positions, min_frames) for extreme in (np.maximum, np.minimum))
    starts = np.flatnonzero(np.all(highest - lowest <= 1, axis=1))
    found, place = [], 0
    while place < len(starts):
        start = int(starts[place])
        stop = still_until(positions, start)
        found.append((start, stop))
        place = int(np.searchsorted(starts, stop))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def still_until(positions: Floats, start: int = 0) -> int:
    """Where the still stretch that begins at a frame stops: the first frame in which a joint leaves its band."""
    high = low = positions[start]
    place, size = start, FIRST_FRAMES
    while place < len(positions):
        part = positions[place : place + size]
        highs = np.maximum(np.maximum.accumulate(part), high)
        lows = np.minimum(np.minimum.accumulate(part), low)
        moved = np.flatnonzero(np.any(highs - lows > 1, axis=1))
        if len(moved):
            return place + int(moved[0])
        high, low = highs[-1], lows[-1]
        place, size = place + size, 2 * size
    return len(positions)


def still_from(positions: Floats) -> int:
    """Where the still stretch that reaches the last frame begins."""
    return len(positions) - still_until(positions[::-1])


def _over_windows(extreme: np.ufunc, values: Floats, window: int) -> Floats:
    """The maximum or minimum of each `window` values from every frame on, (T - window + 1, D).

    Windows of twice the length are made of two that overlap or touch, so that a long one takes few passes.
    """
    width = 1
    while width < window:
        step = min(width, window - width)
        values = extreme(values[:-step], values[step:])
        width += step
    return values


def _widths(robot: Robot, vector: Vector, given: Mapping[str, float]) -> Floats:
    layout, kinds = robot.layout(vector), tuple(_kinds(robot, vector))
    widths = np.full(layout.width, np.nan)
    for name, place in layout.slices.items():
        own = given.get(name)
        is_bounded = robot.groups[name].limits is not None and kinds[place.start] == "target"
        spans = (
            (layout.limits[place, 1] - layout.limits[place, 0]) if is_bounded else np.full(len(widths[place]), np.inf)
        )
        widths[place] = own if own is not None else _own_widths(robot.groups[name].unit, kinds[place.start], spans)
    return widths


def _own_widths(unit: str, kind: ActionKind, spans: Floats) -> Floats:
    """The bands of a group's joints; spans: from limit to limit, infinite where nothing is known."""
    first = unit.casefold().replace(",", " ").replace("/", " ").split()[:1]
    of_unit = UNIT_TOLERANCES.get(first[0]) if first else None
    if kind == "delta" and first and first[0] in ("share", "normalised", "normalized"):
        of_unit = STEP_TOLERANCE
    shares = np.where(np.isfinite(spans), LIMITS_SHARE * spans, np.nan)
    return np.fmin(shares, np.nan if of_unit is None else of_unit)


def _kinds(robot: Robot, vector: Vector) -> Sequence[ActionKind]:
    """What each value is; a state may hold velocities, too."""
    layout = robot.layout(vector)
    kinds = list(layout.action_kinds)
    for name, place in layout.slices.items():
        if vector == "state" and "/s" in robot.groups[name].unit:
            kinds[place] = ["velocity"] * (place.stop - place.start)
    return kinds
