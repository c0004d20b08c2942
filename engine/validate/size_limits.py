"""Whether the values of a dataset are possible for the robot that it says it is of."""

from collections.abc import Iterator, Mapping

import numpy as np

from millrace.embodiments import load_robot, robot_names
from millrace.embodiments.robot import VECTORS
from millrace.engine.dataset.limits import describe_beyond, find_beyond
from millrace.engine.dataset.metadata import DEFAULT_COLUMNS, STATS, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.validate.stored_statistics import Stored


def limit_problems(metadata: Metadata, stats: Mapping[str, Stored]) -> Iterator[Problem]:
    """Judged by the statistics, and only where the robot is one that ships."""
    if metadata.info.robot_type not in robot_names():
        return
    robot = load_robot(metadata.info.robot_type)
    for vector in VECTORS:
        layout, entry = robot.layout(vector), stats.get(DEFAULT_COLUMNS[vector])
        if entry is None:
            continue
        low, high = (np.asarray(entry.values[name], np.float64) for name in ("min", "max"))
        if low.shape != (layout.width,):
            continue
        if beyond := find_beyond(low, high, layout.limits, layout.joints):
            yield Problem.of("beyond-limits", STATS, f"{describe_beyond(vector, beyond)}; limits of '{robot.name}'")
