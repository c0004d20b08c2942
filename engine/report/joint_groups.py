"""Which joints a report plots together: a robot's groups, or else the columns of the state."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from millrace.embodiments import VECTORS, Robot, Vector
from millrace.engine.inspection.columns import Columns
from millrace.engine.planning.joint_columns import ColumnMisfit, JointColumns, match_columns
from millrace.engine.sources import SourceDataset

# Charts of a report's ranges, and of each episode's curves, so that a wide column of an unknown robot stays readable.
MAX_JOINTS = 96

Place = tuple[str, int]  # a column, and the place in it


@dataclass(frozen=True)
class PlottedJoint:
    """A joint and where the dataset holds it; None: it is not observed, or not commanded, or has no known limits."""

    name: str
    state: Place | None = None
    action: Place | None = None
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class PlottedGroup:
    """Joints of one part of a robot. unit: "" where it is not known."""

    name: str
    unit: str
    joints: tuple[PlottedJoint, ...]


def plot_groups(
    dataset: SourceDataset, robot: Robot | None, columns: Columns, *, max_joints: int | None = MAX_JOINTS
) -> tuple[PlottedGroup, ...]:
    """The joints of a dataset by groups of its robot, where that is known, or else by columns.

    Args:
        dataset: The dataset.
        robot: Its robot, where that is known.
        columns: Its columns.
        max_joints: Of all columns of an unknown robot; None: all of them.
    """
    groups = tuple(_robot_groups(dataset, robot) if robot is not None else ())
    return groups or tuple(_column_groups(columns, max_joints))


def _robot_groups(dataset: SourceDataset, robot: Robot) -> Iterator[PlottedGroup]:
    try:
        found = {vector: match_columns(dataset, robot, vector) for vector in VECTORS}
    except ColumnMisfit:
        return
    places = {vector: _joint_places(robot, vector, found[vector]) for vector in VECTORS}
    limits = {
        joint: (float(low), float(high))
        for joint, (low, high) in zip(robot.layout("state").joints, robot.layout("state").limits, strict=True)
        if np.isfinite([low, high]).all()
    }
    for name in dict.fromkeys((*robot.groups_of("state"), *robot.groups_of("action"))):
        group = robot.groups[name]
        joints = (
            PlottedJoint(joint, places["state"].get(joint), places["action"].get(joint), limits.get(joint))
            for joint in group.joints
        )
        yield PlottedGroup(name, group.unit, tuple(joints))


def _joint_places(robot: Robot, vector: Vector, found: JointColumns) -> dict[str, Place]:
    """Column and place of each joint of a vector."""
    all_places = [
        (column, place) for column, width in zip(found.columns, found.widths, strict=True) for place in range(width)
    ]
    return {
        joint: all_places[place]
        for joint, place in zip(robot.layout(vector).joints, found.gather.tolist(), strict=True)
    }


def _column_groups(columns: Columns, max_joints: int | None) -> Iterator[PlottedGroup]:
    """A group for each column of motion, and one for each column of actions that no state answers."""
    actions = {pair.state: pair.action for pair in columns.pairs}
    places = [(name, place, joint) for name in columns.motion for place, joint in enumerate(columns.joints(name))]
    for name, among in groupby(places[:max_joints], key=lambda one: one[0]):
        joints = (PlottedJoint(joint, (name, place), actions.get((name, place))) for _, place, joint in among)
        yield PlottedGroup(name, "", tuple(joints))
