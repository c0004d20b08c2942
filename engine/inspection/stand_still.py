"""When the robot of an inspected dataset stands still, measured as `convert` measures it."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from millrace.embodiments import VECTORS, Robot, Vector
from millrace.engine.dataset.stillness import StillBands, still_bands, still_from, still_stretches, still_until
from millrace.engine.inspection.joint_limits import match_all_columns
from millrace.engine.inspection.motion import Floats
from millrace.engine.planning.joint_columns import JointColumns
from millrace.engine.sources import SourceDataset

# Shorter stretches say little: hands hesitate.
IDLE_SECONDS = 1.0
# Of a joint's usual range, where no robot is known.
STILL_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class StillChecks:
    """A robot's bands, and where a dataset holds its joints; columns whose bands are not known do not count."""

    bands: StillBands
    columns: Mapping[Vector, JointColumns]

    @property
    def tolerances(self) -> dict[str, str]:
        """How far joints may stray while they count as still, by group: "0.01 rad"."""
        return {name: str(width) for name, width in self.bands.groups.items()}

    def positions(self, values: Mapping[str, Floats], fps: Fraction) -> Floats | None:
        """An episode's joints in widths of their bands, (T, K); None where a column is missing or not sound."""
        sides = []
        for vector in VECTORS:
            wanted = self.columns[vector]
            if not all(name in values for name in wanted.columns):
                return None
            joints = np.concatenate([values[name] for name in wanted.columns], axis=1)[:, wanted.gather]
            used = np.flatnonzero(~np.isnan(self.bands.widths[vector]))
            sides.append(self.bands.positions(vector, joints, used=used, fps=float(fps)))
        found = np.concatenate(sides, axis=1)
        return found if found.shape[1] and np.isfinite(found).all() else None


@dataclass(frozen=True)
class IdleFrames:
    """Frames of an episode in which its robot stands still.

    num_frames: in stretches of a second or more. start, end: that reach the first and the last frame, however short.
    longest: of the stretches; longest_start: where it begins.
    """

    num_frames: int
    start: int
    end: int
    longest: int = 0
    longest_start: int = 0


def still_checks(dataset: SourceDataset, robot: Robot | None) -> StillChecks | None:
    """What counts as still; None where no robot is known, or its joints are not the dataset's."""
    columns = None if robot is None else match_all_columns(dataset, robot)
    return None if robot is None or columns is None else StillChecks(still_bands(robot, {}), columns)


def measure_idle(positions: Floats, fps: Fraction) -> IdleFrames:
    """How long the robot stands still; positions: (T, K), in widths of bands, T at least 1."""
    stretches = still_stretches(positions, min_frames=max(2, round(IDLE_SECONDS * fps)))
    lengths = stretches[:, 1] - stretches[:, 0]
    start, end = still_until(positions), len(positions) - still_from(positions)
    start, end = (0 if frames == 1 else frames for frames in (start, end))  # one frame shows no standing still
    if not len(stretches):
        return IdleFrames(0, start, end)
    longest = int(np.argmax(lengths))
    return IdleFrames(int(lengths.sum()), start, end, int(lengths[longest]), int(stretches[longest, 0]))
