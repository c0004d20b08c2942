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

# Of an episode's rows, and of a joint's range.
CLIPPED_SHARE, LIMIT_SLACK = 0.05, 1e-3
HANDS = ("gripper", "hand", "finger", "thumb", "claw", "jaw")


@dataclass(frozen=True, eq=False)
class LimitChecks:
    """A robot with its layouts, and where a dataset holds its joints."""

    robot: Robot
    layouts: Mapping[Vector, Layout]
    columns: Mapping[Vector, JointColumns]

    def findings(
        self, episode: SourceEpisode, extents: Mapping[str, Extent], shares: Mapping[str, Extent]
    ) -> Iterator[Finding]:
        """Findings about one episode.

        Args:
            episode: The episode.
            extents: Lowest and highest values of its sound columns.
            shares: Of the rows that have these values, likewise.
        """
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
            at_low, at_high = (
                np.concatenate([shares[name][end] for name in wanted.columns])[wanted.gather] for end in (0, 1)
            )
            yield from self._clipped_findings(episode, vector, (low, high), (at_low, at_high))

    def _clipped_findings(
        self, episode: SourceEpisode, vector: Vector, extent: Extent, shares: Extent
    ) -> Iterator[Finding]:
        """Joints that keep a value that is a limit; grippers and hands are meant to close and open all the way."""
        layout = self.layouts[vector]
        slack = LIMIT_SLACK * np.ptp(layout.limits, axis=1)
        is_bounded = np.isfinite(layout.limits).all(axis=1) & (extent[1] > extent[0])
        for end, name in enumerate(("lowest", "highest")):
            is_near = is_bounded & (np.abs(extent[end] - layout.limits[:, end]) <= slack)
            for place in np.flatnonzero(is_near & (shares[end] >= CLIPPED_SHARE)).tolist():
                joint = layout.joints[place]
                if not any(word in joint or word in self._group(vector, place) for word in HANDS):
                    share, value = shares[end][place], extent[end][place]
                    where = f"the {name} value of robot '{self.robot.name}', in {share:.0%} of the rows"
                    message = f"{vector}: '{joint}' is exactly {value:.4g}, {where}"
                    yield make_finding("clipped-joint", message, episode=episode.index)

    def _group(self, vector: Vector, place: int) -> str:
        slices = self.layouts[vector].slices.items()
        return next((name for name, group in slices if group.start <= place < group.stop), "")


def limit_checks(dataset: SourceDataset, robot: Robot | None) -> LimitChecks | None:
    """The limits to check; None where no robot is known, or its joints are not the dataset's."""
    columns = None if robot is None else match_all_columns(dataset, robot)
    if robot is None or columns is None:
        return None
    return LimitChecks(robot, {vector: robot.layout(vector) for vector in VECTORS}, columns)


def match_all_columns(dataset: SourceDataset, robot: Robot) -> dict[Vector, JointColumns] | None:
    """Where the robot's joints lie in state and action; None where they are not the dataset's."""
    try:
        return {vector: match_columns(dataset, robot, vector) for vector in VECTORS}
    except ColumnMisfit:
        return None
