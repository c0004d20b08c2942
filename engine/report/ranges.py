"""Ranges of joints over all episodes, against the limits of the robot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.engine.inspection.row_facts import JointFacts
from millrace.engine.report.charts import WIDTH
from millrace.engine.report.joint_groups import MAX_JOINTS, Place, PlottedGroup, PlottedJoint

# Of the robot's range: less beyond it is a matter of rounding and calibration.
SLACK = 0.01


@dataclass(frozen=True)
class RangeBar:
    """Where one joint's state or action lies: places in the chart's width of its lowest and highest value, and of the
    1 % and 99 % quantiles."""

    kind: str
    low: float
    high: float
    q01: float
    q99: float
    text: str


@dataclass(frozen=True)
class JointRange:
    """The ranges of one joint. limits: places of the robot's limits; texts: these as values; notes: what is odd."""

    name: str
    bars: tuple[RangeBar, ...]
    limits: tuple[float, float] | None
    limits_text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RangeGroup:
    """The ranges of one group of joints. still: joints that never move, with their values. num_more: not drawn."""

    name: str
    unit: str
    joints: tuple[JointRange, ...]
    still: tuple[str, ...]
    num_more: int = 0


def draw_ranges(groups: Sequence[PlottedGroup], facts: Iterable[JointFacts]) -> Iterator[RangeGroup]:
    """The ranges of at most MAX_JOINTS joints over the episodes inspected; none where no column was read."""
    by_place: dict[Place, JointFacts] = {(one.column, one.place): one for one in facts}
    if not by_place:
        return
    num_left = MAX_JOINTS
    for group in groups:
        joints: list[JointRange] = []
        still: list[str] = []
        for joint in group.joints[:num_left]:
            found = _find_facts(joint, by_place)
            values = {value for one in found.values() for value in (one.low, one.high)}
            if len(values) == 1:
                still.append(f"{joint.name} {values.pop():.4g}")
            elif values and np.isfinite(max(values) - min(values)):
                joints.append(_draw_range(joint, found))
        num_left -= len(joints)
        num_more = len(group.joints) - len(joints) - len(still)
        yield RangeGroup(group.name, group.unit, tuple(joints), tuple(still), num_more)


def _find_facts(joint: PlottedJoint, by_place: Mapping[Place, JointFacts]) -> dict[str, JointFacts]:
    """The facts of a joint's state and action, those that there are."""
    return {
        kind: by_place[place]
        for kind, place in (("state", joint.state), ("action", joint.action))
        if place is not None and place in by_place
    }


def _draw_range(joint: PlottedJoint, found: Mapping[str, JointFacts]) -> JointRange:
    ends = [value for one in found.values() for value in (one.low, one.high)] + list(joint.limits or ())
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def across(value: float) -> float:
        return round((value - low) / width * WIDTH, 1)

    bars = tuple(
        RangeBar(
            kind,
            across(one.low),
            across(one.high),
            across(one.q01),
            across(one.q99),
            f"{one.low:.3g} to {one.high:.3g}; 98 % of rows {one.q01:.3g} to {one.q99:.3g}",
        )
        for kind, one in found.items()
    )
    limits = None if joint.limits is None else (across(joint.limits[0]), across(joint.limits[1]))
    text = "" if joint.limits is None else f"{joint.limits[0]:.3g} to {joint.limits[1]:.3g}"
    return JointRange(joint.name, bars, limits, text, tuple(_notes(joint, found)))


def _notes(joint: PlottedJoint, found: Mapping[str, JointFacts]) -> Iterator[str]:
    for kind, one in found.items():
        if one.low == one.high:
            yield f"{kind} is constant"
        elif joint.limits is not None:
            low, high = joint.limits
            slack = SLACK * (high - low)
            if one.low < low - slack or one.high > high + slack:
                yield f"{kind} leaves the limits"
