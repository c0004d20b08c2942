"""From the steps of a model's action chunk to the ticks of a robot's controller."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments.robot import ActionKind

Between = Literal["interpolate", "hold"]


def count_ticks(num_steps: int, *, fps: Fraction, control_hz: Fraction) -> int:
    """Ticks of a controller in the time of a chunk: tick j is at j / control_hz seconds, before num_steps / fps."""
    return -int(-num_steps * control_hz // fps)


def resample_chunk(
    chunk: NDArray[np.float32],
    *,
    fps: Fraction,
    control_hz: Fraction,
    kinds: Sequence[ActionKind],
    between: Between,
) -> NDArray[np.float32]:
    """A chunk of actions at the model's rate as one at the controller's.

    Step k is due at k / fps seconds. Targets are interpolated linearly, or held until the next step is due; after the
    last step both hold it. Velocities are held. A delta is what a joint moves in its step: it is spread over the ticks
    of that step, so that the sum stays.

    Args:
        chunk: Shape (B, H, D).
        fps: Of the steps, Hz.
        control_hz: Of the ticks, Hz.
        kinds: What each of the D values is.
        between: What targets do between two steps.

    Returns:
        Shape (B, N, D), N as `count_ticks` has it.
    """
    num_steps = chunk.shape[1]
    ticks = np.arange(count_ticks(num_steps, fps=fps, control_hz=control_hz) + 1, dtype=np.int64)
    step = fps / control_hz
    # Whole steps and the rest in integers: a tick that is due with a step takes exactly that one.
    before, rest = np.divmod(ticks * step.numerator, step.denominator)
    share = (rest / step.denominator)[None, :, None]
    last = num_steps - 1
    values = chunk.astype(np.float64)
    held = values[:, np.minimum(before, last)]
    line = held + share * (values[:, np.minimum(before + 1, last)] - held)
    sums = np.concatenate([np.zeros_like(values[:, :1]), np.cumsum(values, axis=1)], axis=1)
    moved = sums[:, np.minimum(before, num_steps)]
    moved = moved + share * (sums[:, np.minimum(before + 1, num_steps)] - moved)
    kind = np.array(kinds)
    found = np.where((kind == "target") & (between == "interpolate"), line, held)[:, :-1]
    return np.where(kind == "delta", np.diff(moved, axis=1), found).astype(np.float32)


def blend_chunks(chunk: NDArray[np.float32], tail: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """A chunk (B, N, D) that goes over from what was left of the one before, (B, M, D), within M ticks."""
    if tail is None or tail.shape[0] != chunk.shape[0]:
        return chunk
    num_ticks = min(tail.shape[1], chunk.shape[1])
    share = (np.arange(1, num_ticks + 1, dtype=np.float32) / np.float32(num_ticks + 1))[None, :, None]
    mixed = tail[:, :num_ticks] * (1 - share) + chunk[:, :num_ticks] * share
    return np.concatenate([mixed, chunk[:, num_ticks:]], axis=1)
