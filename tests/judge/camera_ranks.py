"""Hold the statistics of a camera in an episode, of few frames, against the frames that LeRobot counts.

Quantiles are compared by rank, as values differ by any amount where few pixels lie between them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = dict[str, NDArray[Any]]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
WHITE = 255
# Levels that a pixel may be off by: coding, and ways from YUV to RGB (compared_frames.TOLERANCE).
LEVELS = 3
# Of LeRobot's values as many may lie on the wrong side of a quantile: the share of the rarer side, of which every
# other pixel was counted, and never more than the second number.
RARE_SHARE, LARGEST_SHARE = 0.1, 0.01
# Single pixels make the extremes, of frames before they were encoded here, and decoded ones there.
EXTREME_SHARE = 0.001
EXTREME_LEVELS = 51

# Shares of values below each level, 0 to 256, of each channel of each frame: (N, 3, 257).
Shares = NDArray[np.float64]


class WrongStatistics(Exception):
    """Statistics differ from LeRobot's; the message says which."""


def compare_ranks(stored: Statistics, images: NDArray[np.uint8]) -> None:
    """Compare a camera's quantiles and extremes with the frames that LeRobot counts.

    Of these frames every sample is taken that has as many as were counted, spread evenly over the episode. In one of
    them, or between two, each quantile must have its rank: the more the frames differ, the more a rank may.

    Args:
        stored: By name, each (3, 1, 1) in [0, 1]; count: the number of frames that were counted.
        images: LeRobot's frames, (N, 3, H, W).

    Raises:
        WrongStatistics: a rank is another, or an extreme.
    """
    shares = _sample_evenly(_shares_below(images), num_frames=int(np.ravel(stored["count"])[0]))
    for name in QUANTILES.keys() & stored.keys():  # v2.1 has none
        rank = QUANTILES[name]
        allowed = min(RARE_SHARE * min(rank, 1 - rank), LARGEST_SHARE)
        levels = _levels(stored, name)
        _require_ranks(name, shares, levels, at_most=rank + allowed, at_least=rank - allowed)
    low, high = _levels(stored, "min"), _levels(stored, "max")
    _require_ranks("min", shares, low, at_most=EXTREME_SHARE, at_least=0)
    _require_ranks("max", shares, high, at_most=1, at_least=1 - EXTREME_SHARE)
    if np.any(low < images.min(axis=(0, 2, 3)) - float(EXTREME_LEVELS)):
        raise WrongStatistics(f"min {low} of {WHITE}, but LeRobot's frames begin at {images.min(axis=(0, 2, 3))}")
    if np.any(high > images.max(axis=(0, 2, 3)) + float(EXTREME_LEVELS)):
        raise WrongStatistics(f"max {high} of {WHITE}, but LeRobot's frames end at {images.max(axis=(0, 2, 3))}")


def _shares_below(images: NDArray[np.uint8]) -> Shares:
    num_frames, num_channels = images.shape[:2]
    planes = images.reshape(num_frames * num_channels, -1)
    counts = np.stack([np.bincount(plane, minlength=WHITE + 1) for plane in planes])
    below = np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0))) / planes.shape[1]
    return below.reshape(num_frames, num_channels, -1)


def _sample_evenly(shares: Shares, *, num_frames: int) -> Shares:
    """The same of each sample of so many frames that begins at one of N."""
    starts, steps = np.arange(len(shares)), np.arange(num_frames) * len(shares) // num_frames
    return shares[(starts[:, None] + steps) % len(shares)].mean(axis=1)


def _levels(stored: Statistics, name: str) -> NDArray[np.float64]:
    return np.ravel(stored[name]).astype(np.float64) * WHITE


def _require_ranks(name: str, shares: Shares, levels: NDArray[np.float64], *, at_most: float, at_least: float) -> None:
    """Check that a sample has no more values below the levels, (3,), than allowed, and one no fewer up to them."""
    below = np.clip(np.ceil(levels - LEVELS), 0, WHITE + 1).astype(np.int64)
    up_to = np.clip(np.floor(levels + LEVELS) + 1, 0, WHITE + 1).astype(np.int64)
    channels = np.arange(len(levels))
    lowest, highest = shares[:, channels, below].min(axis=0), shares[:, channels, up_to].max(axis=0)
    if np.any(lowest > at_most) or np.any(highest < at_least):
        found = ", ".join(f"{low:.4f} to {high:.4f}" for low, high in zip(lowest, highest, strict=True))
        raise WrongStatistics(f"{name} {levels / WHITE} has ranks {found} in LeRobot's frames")
