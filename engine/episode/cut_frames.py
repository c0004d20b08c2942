"""Which frames of an episode are kept: still stretches are cut by the recipe's rules, from the episode's rows alone."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, Remedy, Setting
from millrace.engine.dataset.record import Cut
from millrace.engine.dataset.stillness import Floats, still_from, still_stretches, still_until
from millrace.engine.errors import EpisodeDataError, FaultCode
from millrace.engine.planning.cut_rules import CutRules
from millrace.engine.planning.frame_choice import FrameChoice
from millrace.engine.planning.quality import DropPauses, TrimIdle


def cut_episode(
    state: NDArray[np.floating], action: NDArray[np.floating], rules: CutRules, fps: Fraction
) -> tuple[Cut, ...]:
    """The stretches of an episode's source frames to cut, rising, none overlaps another.

    Args:
        state: (T, D), in the source robot's order and units, T at least 1.
        action: (T, D'), likewise.
        rules: Of the source.
        fps: Of the rows.

    Raises:
        EpisodeDataError: the robot stands still throughout, or nothing would be left.
    """
    return find_cuts(measure_positions(rules, state, action, fps), rules, fps)


def measure_positions(
    rules: CutRules, state: NDArray[np.floating], action: NDArray[np.floating], fps: Fraction
) -> Floats:
    """The used joints of state and action as positions in widths of their bands, (T, K).

    Args:
        rules: Of the source.
        state: (T, D), in the source robot's order and units.
        action: (T, D'), likewise.
        fps: Of the rows.
    """
    values = {"state": state, "action": action}
    sides = (
        rules.bands.positions(vector, values[vector], used=rules.used[vector], fps=float(fps)) for vector in VECTORS
    )
    return np.concatenate(list(sides), axis=1)


def find_cuts(positions: Floats, rules: CutRules, fps: Fraction) -> tuple[Cut, ...]:
    """The stretches of source frames to cut, rising, none overlaps another.

    Args:
        positions: (T, K), see `measure_positions`; T at least 1.
        rules: Of the source.
        fps: Of the rows.

    Raises:
        EpisodeDataError: the robot stands still throughout, or nothing would be left.
    """
    num_frames = len(positions)
    if still_until(positions) == num_frames:
        raise still_error(f"the robot stands still in all {num_frames} frames ({float(num_frames / fps):.1f} s)")
    ends = list(_find_ends(positions, rules.trim, fps)) if rules.trim is not None else []
    start = max((cut.stop for cut in ends if cut.why == "start"), default=0)
    stop = min((cut.start for cut in ends if cut.why == "end"), default=num_frames)
    if start >= stop:
        raise still_error(f"all {num_frames} frames belong to the still stretches at its start and end")
    pauses = _find_pauses(positions, rules.pauses, fps) if rules.pauses is not None else ()
    within = ((max(first, start), min(last, stop)) for first, last in pauses)
    found = [*ends, *(Cut(start=first, stop=last, why="pause") for first, last in within if first < last)]
    return tuple(sorted(found, key=lambda cut: cut.start))


def _find_ends(positions: Floats, trim: TrimIdle, fps: Fraction) -> Iterator[Cut]:
    num_frames, num_kept = len(positions), _count_frames(trim.keep, fps)
    if trim.lead and (stop := still_until(positions) - num_kept) > 0:
        yield Cut(start=0, stop=stop, why="start")
    if trim.tail and (start := still_from(positions) + num_kept) < num_frames:
        yield Cut(start=start, stop=num_frames, why="end")


def _find_pauses(positions: Floats, pauses: DropPauses, fps: Fraction) -> Iterator[tuple[int, int]]:
    """What is cut of each pause; stretches that reach the first or the last frame are none."""
    num_kept = _count_frames(pauses.keep, fps)
    # The shortest that lasts longer: a stretch of n frames lasts n / fps seconds.
    min_frames = int(pauses.longer_than * fps) + 1
    for start, stop in still_stretches(positions, min_frames=min_frames).tolist():
        if start > 0 and stop < len(positions):
            yield start + (num_kept + 1) // 2, stop - num_kept // 2


def check_left(choice: FrameChoice) -> None:
    """Check that an output frame is left.

    Raises:
        EpisodeDataError: none is.
    """
    if not len(choice.chosen):
        raise still_error(f"the {len(choice.kept)} frames that move are too few for one output frame")


def _count_frames(seconds: Fraction, fps: Fraction) -> int:
    return round(seconds * fps)


def still_error(problem: str) -> EpisodeDataError:
    """The error for an episode of which nothing would be left; problem: why."""
    advice = Remedy(
        "leave it out with ", Setting("episodes"), ", or narrow what counts as still with ", Setting("still")
    )
    return EpisodeDataError(f"{problem}: nothing is left; ", advice, code=FaultCode.STILL)
