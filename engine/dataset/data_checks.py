"""Check an episode's timestamps and frame numbers, for `inspect` and `convert`.

Each check yields a code of engine/inspection/findings.py and what is wrong in words.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.engine.fps import format_fps

# Rates that differ by more are other rates; below it clocks merely drift.
RATE_SHARE = 0.02
# LeRobot's own tolerance for the spacing of timestamps, seconds (tolerance_s of LeRobotDataset).
TOLERANCE_SECONDS = 1e-4
# Steps of this many frames or more have lost a frame; shorter ones came late.
DROPPED_STEP = 1.5
# Thirty thousand years: numbers beyond are no times, and their differences no float32.
LATEST_SECONDS = 1e12
WRONG_RATE = "wrong-rate"

Found = tuple[str, str]


@dataclass(frozen=True)
class SourceRate:
    """The rate of a source's rows, Hz; is_sure: the user says so, whatever timestamps and videos say."""

    fps: Fraction
    is_sure: bool

    def advice(self, found_fps: float | None) -> str:
        """What to do about another rate that was found."""
        said = format_fps(self.fps)
        if found_fps is None:
            return Remedy("Pass ", Setting("source_fps", said), " if that is the rate")
        found = f"{found_fps:.4g}"
        in_recipe = f", or `fps: {found}` under the source in a recipe; if {said} Hz is, "
        pass_found = (f"If {found} Hz is right, pass ", Setting("source_fps", found))
        return Remedy(*pass_found, in_recipe, Setting("source_fps", said))


def is_same_rate(found_fps: float | Fraction, fps: float | Fraction) -> bool:
    """Whether two rates are equal, up to the drift of clocks."""
    return abs(float(found_fps) / float(fps) - 1) <= RATE_SHARE


def median_rate(seconds: NDArray[np.floating]) -> float | None:
    """The rate of the median step between times, Hz; None where it is not positive."""
    middle = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return 1 / middle if middle > 0 else None


def check_timestamps(seconds: NDArray[np.floating], fps: Fraction) -> Iterator[Found]:
    """Check that an episode's timestamps run at a rate; seconds: (T,), not checked where not finite."""
    if len(seconds) < 2 or not np.isfinite(seconds).all():
        return
    seconds = np.clip(seconds, -LATEST_SECONDS, LATEST_SECONDS).astype(np.float64)
    rate = median_rate(seconds)
    if rate is None:
        yield "no-rate", "timestamps do not increase, so they tell no rate"
    elif not is_same_rate(rate, fps):
        yield WRONG_RATE, f"timestamps step by {1 / rate:.4g} s, which is {rate:.4g} Hz, not {float(fps):.4g} Hz"
    else:
        yield from _uneven_steps(seconds, float(1 / fps))


def _uneven_steps(seconds: NDArray[np.floating], due: float) -> Iterator[Found]:
    steps = np.diff(seconds)
    # Timestamps are stored as float32, which is coarse late in a long episode.
    slack = TOLERANCE_SECONDS + np.spacing(np.abs(seconds[1:]).astype(np.float32))
    uneven = np.flatnonzero(np.abs(steps - due) > slack)
    if not len(uneven):
        return
    worst = int(uneven[np.argmax(np.abs(steps[uneven] - due))])
    num_dropped = int((steps > DROPPED_STEP * due).sum())
    dropped = f"; frames were dropped in {num_dropped} places, where motion jumps" if num_dropped else ""
    yield (
        "timestamp-gap",
        f"steps between timestamps other than {due:.4g} s: {len(uneven)} of {len(steps)}; "
        f"the worst is {steps[worst]:+.4g} s, to row {worst + 1}{dropped}",
    )


def find_uneven_step(seconds: NDArray[np.float32], fps: Fraction) -> int | None:
    """The first row whose step to the next LeRobot 0.3.3 refuses, in float32 as it computes; None: it takes all."""
    uneven = np.flatnonzero(np.abs(np.diff(seconds) - np.float32(1 / fps)) > TOLERANCE_SECONDS)
    return int(uneven[0]) if len(uneven) else None


def check_frame_index(numbers: NDArray[np.floating] | NDArray[np.int64]) -> Iterator[Found]:
    """Check that frame_index rises by one from row to row; numbers: (T,)."""
    with np.errstate(invalid="ignore", over="ignore"):  # from infinity to infinity is a jump
        jumps = np.flatnonzero(np.diff(numbers) != 1) + 1
    if len(jumps):
        row = int(jumps[0])
        before, after = numbers[row - 1 : row + 1].tolist()
        more = f", and {len(jumps) - 1} more such rows" if len(jumps) > 1 else ""
        yield "frame-index-jump", f"frame_index goes from {before:g} to {after:g} in row {row}{more}"
