"""Which source frame becomes each output frame."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.embodiments.robot import ActionKind
from millrace.engine.errors import CannotUpsample, RecipeError
from millrace.engine.fps import format_fps

Resampler = Literal["nearest", "linspace"]
RESAMPLERS: tuple[str, ...] = get_args(Resampler)


def frame_indices(
    num_frames: int,
    *,
    source_fps: Fraction,
    target_fps: Fraction,
    resampler: Resampler = "nearest",
) -> NDArray[np.int64]:
    """The source frames that the output shows, by the chosen rule; see `nearest_indices` and `linspace_indices`.

    Raises:
        CannotUpsample: target_fps exceeds source_fps.
    """
    if target_fps > source_fps:
        rates = f"{format_fps(target_fps)} Hz from {format_fps(source_fps)} Hz"
        choice = Remedy("Choose ", Setting("fps"), " at or below the source's rate, or ", Setting("fps", "source"))
        problem = f"cannot make {rates}: frames would be shown twice. "
        raise CannotUpsample(problem, choice, got=target_fps, expected=source_fps)
    rules = {"nearest": nearest_indices, "linspace": linspace_indices}
    if resampler not in rules:
        message = f"'{resampler}' is not a resampler. Known: {', '.join(RESAMPLERS)}"
        raise RecipeError(message, got=resampler, known=RESAMPLERS)
    return rules[resampler](num_frames, source_fps=source_fps, target_fps=target_fps)


def nearest_indices(num_frames: int, *, source_fps: Fraction, target_fps: Fraction) -> NDArray[np.int64]:
    """Source frame nearest in time to each target frame; ties go to the even frame.

    Target frame k is due at k / target_fps seconds; none lies past the last source frame. Even
    frames are the key frames of LeRobot's AV1, so a tie decided this way is cheaper to decode.

        50 Hz -> 20 Hz:  0 2 5 8 10 12 15 ...

    Args:
        num_frames: Frames in the source episode, T.
        source_fps: Source rate, Hz.
        target_fps: Target rate, Hz; at most source_fps.

    Returns:
        Indices into [0, T), shape (T',), T' = floor((T - 1) * target / source) + 1.
    """
    step = source_fps / target_fps
    num_targets = (num_frames - 1) * step.denominator // step.numerator + 1
    is_small = 2 * num_targets * step.numerator < 2**62
    due = np.arange(num_targets).astype(np.int64 if is_small else object) * step.numerator
    whole, remainder = due // step.denominator, due % step.denominator
    is_later_nearer = 2 * remainder > step.denominator
    is_tie_from_odd = (2 * remainder == step.denominator) & (whole % 2 == 1)
    return np.asarray(whole + (is_later_nearer | is_tie_from_odd), dtype=np.int64)


def linspace_indices(num_frames: int, *, source_fps: Fraction, target_fps: Fraction) -> NDArray[np.int64]:
    """The ALOHA guide's rule, equal to it in every index; it stretches time by up to 1.5 source frames.

    Source: the guide's step 2.4, `np.linspace(0, N - 1, int(N * 20 / 50)).astype(int)`.

    Returns:
        Indices into [0, T), shape (int(T * target / source),); empty for an episode too short.
    """
    return np.linspace(0, num_frames - 1, num_frames * target_fps // source_fps).astype(np.int64)


def resample_actions(
    action: NDArray[np.floating],
    frames: NDArray[np.int64],
    kinds: Sequence[ActionKind],
    *,
    held: NDArray[np.int64] | None = None,
) -> NDArray[np.floating]:
    """The actions of the kept frames: targets as they are, deltas summed, velocities averaged.

    Kept frame k stands for the source frames [frames[k], frames[k + 1]), the last one for all that
    follow. So the deltas' sum over an episode does not change.

    Args:
        action: Source actions, shape (T, D).
        frames: Kept source frames, rising, the first of them 0; shape (T',).
        kinds: What each column of the action is, D of them.
        held: Source frames whose targets the kept frames have, by default their own; shape (T',).

    Returns:
        Shape (T', D), dtype as given.
    """
    kept = action[frames if held is None else held]
    rates = np.flatnonzero(np.array(kinds) != "target")
    if not len(rates) or not len(frames):
        return kept
    sums = np.add.reduceat(action[:, rates].astype(np.float64), frames, axis=0)
    lengths = np.diff(frames, append=len(action))[:, np.newaxis]
    is_velocity = np.array(kinds)[rates] == "velocity"
    kept[:, rates] = np.where(is_velocity, sums / lengths, sums)
    return kept
