"""Whether an episode is left out for how the robot moves in it: from its rows and the recipe's settings alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS
from millrace.engine.dataset.stillness import Floats, still_stretches
from millrace.engine.errors import EpisodeDataError, FaultCode
from millrace.engine.planning.filter_rules import FilterRules

IDLE_SECONDS = 1


@dataclass(frozen=True)
class EpisodeMotion:
    """How a robot moves in an episode.

    idle_share: of frames in stretches of a second or longer in which it stands still; None where that was not asked
    for. extents, jerks: by joint group, of its liveliest joint: from its lowest to its highest value, and the root
    mean square of its jerk, in the group's unit and per s³.
    """

    idle_share: Fraction | None
    extents: Mapping[str, float]
    jerks: Mapping[str, float]


def check_motion(state: NDArray[np.floating], action: NDArray[np.floating], rules: FilterRules, fps: Fraction) -> None:
    """Check that an episode is kept.

    Args:
        state: (T, D), in the source robot's order and units, T at least 1.
        action: (T, D'), likewise.
        rules: Of the source.
        fps: Of the rows.

    Raises:
        EpisodeDataError: it is left out, with the code "filtered"; says by which setting, and what was measured.
    """
    if problems := list(_problems(measure_motion(state, action, rules, fps), rules)):
        raise EpisodeDataError(" and ".join(problems), code=FaultCode.FILTERED)


def measure_motion(
    state: NDArray[np.floating], action: NDArray[np.floating], rules: FilterRules, fps: Fraction
) -> EpisodeMotion:
    """Measure an episode; see `check_motion`."""
    values = {"state": state, "action": action}
    rate, idle = float(fps), None
    if rules.max_idle is not None:
        bands = [rules.bands.positions(one, values[one], used=rules.used[one], fps=rate) for one in VECTORS]
        idle = idle_share(np.concatenate(bands, axis=1), fps)
    extents, jerks = {}, {}
    for name, (vector, places) in rules.moving.items():
        paths = rules.units.positions(vector, values[vector], used=places, fps=rate)
        extents[name] = float(np.ptp(paths, axis=0).max())
        jerks[name] = highest_jerk(paths, fps)
    return EpisodeMotion(idle, extents, jerks)


def idle_share(positions: Floats, fps: Fraction) -> Fraction:
    """The share of frames in still stretches of a second or longer; positions: (T, K), in widths of their bands."""
    stretches = still_stretches(positions, min_frames=max(1, round(IDLE_SECONDS * fps)))
    return Fraction(int((stretches[:, 1] - stretches[:, 0]).sum()), len(positions))


def highest_jerk(paths: Floats, fps: Fraction) -> float:
    """The root mean square of the liveliest joint's jerk; paths: (T, K); 0 for fewer than four frames."""
    jerk = np.diff(paths, n=3, axis=0) * float(fps) ** 3
    return float(np.sqrt((jerk**2).mean(axis=0)).max()) if len(jerk) else 0.0


def _problems(motion: EpisodeMotion, rules: FilterRules) -> Iterator[str]:
    """Why an episode is left out, each reason with what was measured."""
    if rules.max_idle is not None and motion.idle_share is not None and motion.idle_share > rules.max_idle:
        allowed = f"max_idle {float(rules.max_idle):.0%}"
        yield f"the robot stands still in {float(motion.idle_share):.1%} of its frames ({allowed})"
    least = rules.min_motion
    if least and all(motion.extents[name] < amount for name, amount in least.items()):
        name = max(least, key=lambda name: motion.extents[name] / least[name])
        told = f"{name} goes {motion.extents[name]:.4g} {rules.unit_of[name]}"
        yield f"nothing moves far: {told} (min_motion {least[name]:g})"
    rough = [name for name, amount in rules.max_jerk.items() if motion.jerks[name] > amount]
    if rough:
        name = max(rough, key=lambda name: motion.jerks[name] / rules.max_jerk[name])
        told = f"a joint of {name} has a jerk of {motion.jerks[name]:.4g} {rules.unit_of[name]}/s³"
        yield f"{told} (max_jerk {rules.max_jerk[name]:g})"
