"""Find joints of a dataset that go beyond the limits of its robot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from millrace.embodiments import VECTORS, Robot, Vector
from millrace.embodiments.robot import Layout
from millrace.engine.dataset.limits import describe_beyond, find_beyond
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.motion import Extent
from millrace.engine.planning.joint_columns import ColumnMisfit, JointColumns, match_columns
from millrace.engine.sources import SourceDataset, SourceEpisode


@dataclass(frozen=True, eq=False)
class LimitChecks:
    """A robot with its layouts, and where a dataset holds its joints."""

    robot: Robot
    layouts: Mapping[Vector, Layout]
    columns: Mapping[Vector, JointColumns]

    def findings(self, episode: SourceEpisode, extents: Mapping[str, Extent]) -> Iterator[Finding]:
        """Findings about one episode; extents: of its sound columns."""
        for vector, wanted in self.columns.items():
            if not all(name in extents for name in wanted.columns):
                continue
            low, high = (
                np.concatenate([extents[name][end] for name in wanted.columns])[wanted.gather] for end in (0, 1)
            )
            layout = self.layouts[vector]
            if beyond := find_beyond(low, high, layout.limits, layout.joints):
                message = f"{describe_beyond(vector, beyond)}; limits of robot '{self.robot.name}'"
                yield make_finding("beyond-limits", message, episode=episode.index)


def limit_checks(dataset: SourceDataset, robot: Robot | None) -> LimitChecks | None:
    """The limits to check; None where no robot is known, or its joints are not the dataset's."""
    if robot is None:
        return None
    try:
        columns = {vector: match_columns(dataset, robot, vector) for vector in VECTORS}
    except ColumnMisfit:
        return None
    return LimitChecks(robot, {vector: robot.layout(vector) for vector in VECTORS}, columns)
