"""Joint targets at the robot's control rate, from those of a slower dataset or model."""

from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Follow = Literal["hold", "interpolate"]
FOLLOWS: tuple[str, ...] = get_args(Follow)


def follow_targets(
    targets: NDArray[np.floating], *, fps: Fraction, control_fps: Fraction, follow: Follow
) -> NDArray[np.float64]:
    """The target of every control step, until each of the given ones has had its time.

    Control step j is due at j / control_fps seconds, target k at k / fps.

    Args:
        targets: Shape (T, D), joint targets.
        fps: Their rate, Hz.
        control_fps: Rate of the robot's controller, Hz.
        follow: hold: the newest target that is due; interpolate: on the straight line to the next one.

    Returns:
        Shape (ceil(T * control_fps / fps), D).
    """
    num_steps = -(-len(targets) * control_fps // fps)
    due = np.arange(int(num_steps)) * (fps / control_fps).numerator
    whole, rest = np.divmod(due, (fps / control_fps).denominator)
    now = targets[whole].astype(np.float64)
    if follow == "hold":
        return now
    after = targets[np.minimum(whole + 1, len(targets) - 1)]
    weight = rest[:, np.newaxis] / (fps / control_fps).denominator
    interpolated: NDArray[np.float64] = now + weight * (after - now)
    return interpolated
