"""Which recorded action each output frame has, where frames of the source are dropped."""

from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import RecipeError
from millrace.engine.planning.resample import Resampler, frame_indices

ActionRule = Literal["at_frame", "mid_interval", "end_of_interval"]
ACTION_RULES: tuple[str, ...] = get_args(ActionRule)
# So that products of a frame and a rate's parts stay within int64; beyond that Python's integers are used.
MAX_EXACT = 2**62


def action_indices(
    num_frames: int,
    *,
    source_fps: Fraction,
    target_fps: Fraction,
    resampler: Resampler = "nearest",
    rule: ActionRule = "at_frame",
) -> NDArray[np.int64]:
    """The source frames whose actions the output has, by the chosen rule; none is taken twice.

    Recorded action i is in force from i / source_fps to (i + 1) / source_fps seconds, the last one from then on.
    Output action k is held from k / target_fps to (k + 1) / target_fps: "at_frame" is the action of the frame that
    is shown, "mid_interval" the one in force in the middle of that interval, "end_of_interval" the last one in it.

        50 Hz -> 20 Hz:  frames shown     0  2  5  8 10 12 15 ...
                         mid_interval     1  3  6  8 11 13 16 ...
                         end_of_interval  2  4  7  9 12 14 17 ...

    Args:
        num_frames: Frames in the source episode, T.
        source_fps: Source rate, Hz.
        target_fps: Target rate, Hz; at most source_fps.
        resampler: How frames are chosen; "linspace" stretches the intervals as it does time.
        rule: Which action.

    Returns:
        Rising indices into [0, T), of the shape of `frame_indices`, (T',).

    Raises:
        CannotUpsample: target_fps exceeds source_fps.
        RecipeError: there is no such rule.
    """
    if rule not in ACTION_RULES:
        message = f"'{rule}' is not a rule for actions. Known: {', '.join(ACTION_RULES)}"
        raise RecipeError(message, got=rule, known=ACTION_RULES)
    frames = frame_indices(num_frames, source_fps=source_fps, target_fps=target_fps, resampler=resampler)
    if rule == "at_frame" or not len(frames):
        return frames
    step = source_fps / target_fps
    if resampler == "linspace" and len(frames) > 1:
        step = Fraction(num_frames - 1, len(frames) - 1)
    is_small = (2 * len(frames) + 1) * step.numerator < MAX_EXACT
    numbers = np.arange(len(frames)).astype(np.int64 if is_small else object)
    if rule == "mid_interval":
        found = (2 * numbers + 1) * step.numerator // (2 * step.denominator)
    else:
        found = ((numbers + 1) * step.numerator - 1) // step.denominator
    return np.minimum(np.asarray(found, dtype=np.int64), num_frames - 1)
