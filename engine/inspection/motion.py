"""How far joints move, and how far a robot's state lags behind its actions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.quantiles import column_quantiles

Floats = NDArray[np.float64]
Extent = tuple[Floats, Floats]  # lowest and highest

# A joint that hardly ever moves is measured against the widest of its column, or its noise would count as motion.
LEAST_SHARE_OF_WIDEST = 0.05
# Joints that move less than this share of the liveliest say nothing about lag.
LIVELY_SHARE = 0.01
MIN_JERK_FRAMES, JERK_QUANTILE = 8, 0.9


def joint_scale(low: Floats, high: Floats) -> Floats:
    """The range that each joint of a column is measured against, (D,), never 0."""
    way = high - low
    return np.maximum(way, max(LEAST_SHARE_OF_WIDEST * way.max(initial=0), 1e-6))


def measure_jerk(positions: Floats) -> Floats | None:
    """How jerkily each joint moves: what its third difference exceeds in a tenth of the frames, (D,).

    Args:
        positions: (T, D), finite, each joint in shares of its range.

    Returns:
        Shares of the range a frame^3; None for an episode too short to tell. A single spike does not count.
    """
    if len(positions) < MIN_JERK_FRAMES:
        return None
    jerk = column_quantiles(np.abs(np.diff(positions, n=3, axis=0)), [JERK_QUANTILE])[0]
    # An episode in other units goes far beyond the usual range, and is no more jerky for that.
    return np.asarray(jerk / np.maximum(np.ptp(positions, axis=0), 1))


def true_runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Stretches [start, stop) of True, (n, 2)."""
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


@dataclass(frozen=True, eq=False)
class LagSums:
    """Sums over episodes from which the correlation at each lag follows; D pairs of joints, lags -L to L.

    products, action_squares, state_squares: (2 L + 1, D). is_same, is_next: (D,), whether the action is
    exactly the state of the same frame, or of the next.
    """

    products: Floats
    action_squares: Floats
    state_squares: Floats
    is_same: NDArray[np.bool_]
    is_next: NDArray[np.bool_]

    def __add__(self, other: "LagSums") -> "LagSums":
        return LagSums(
            products=self.products + other.products,
            action_squares=self.action_squares + other.action_squares,
            state_squares=self.state_squares + other.state_squares,
            is_same=self.is_same & other.is_same,
            is_next=self.is_next & other.is_next,
        )

    @property
    def agreement(self) -> Extent:
        """Lowest and highest correlation of each pair at any lag, (D,) each; 0 where nothing moves."""
        norms = np.sqrt(self.action_squares * self.state_squares)
        correlations = np.divide(self.products, norms, out=np.zeros_like(norms), where=norms > 0)
        return correlations.min(axis=0, initial=0), correlations.max(axis=0, initial=0)

    @property
    def is_lively(self) -> NDArray[np.bool_]:
        """Whether each pair moves enough to be compared, (D,)."""
        action, state = (np.sqrt(squares.max(axis=0)) for squares in (self.action_squares, self.state_squares))
        # Not the action alone: a commanded joint that never follows is a finding, not a reason to look away.
        motion = np.maximum(action, state)
        return np.asarray((motion > LIVELY_SHARE * motion.max(initial=0)) & (motion > 0))


@dataclass(frozen=True)
class LagFit:
    """The lag, in frames, at which actions predict the state best; positive where the state follows."""

    frames: int
    correlation: float
    num_joints: int


def lag_sums(action: Floats, state: Floats, *, max_lag: int, step: int) -> LagSums:
    """One episode's sums.

    Differences over `step` frames are compared, not positions: those drift alike at any lag.

    Args:
        action: (T, D), finite.
        state: (T, D), the same joints.
        max_lag: Frames, L.
        step: Frames, about a tenth of a second.
    """
    # A row for each joint: sums over frames are then over values that lie side by side.
    moves = [np.ascontiguousarray((values[step:] - values[:-step]).T) for values in (action, state)]
    commanded, observed = (move - move.mean(axis=1, keepdims=True) if move.size else move for move in moves)
    num_pairs, length = commanded.shape
    lags = np.arange(-max_lag, max_lag + 1)
    products = np.zeros((len(lags), num_pairs))
    for number, lag in enumerate(lags.tolist()):
        before = commanded[:, max(-lag, 0) : max(length - max(lag, 0), 0)]
        after = observed[:, max(lag, 0) : max(length - max(-lag, 0), 0)]
        products[number] = np.einsum("dt,dt->d", before, after)
    return LagSums(
        products=products,
        action_squares=_overlap_squares(commanded, lags),
        state_squares=_overlap_squares(observed, -lags),
        is_same=np.all(action == state, axis=0),
        is_next=np.all(action[:-1] == state[1:], axis=0),
    )


def _overlap_squares(moves: Floats, lags: NDArray[np.int64]) -> Floats:
    """Sums of squares of the frames that overlap with others so many frames later, (2 L + 1, D); moves: (D, T)."""
    squares = np.zeros((moves.shape[0], moves.shape[1] + 1))
    np.cumsum(moves**2, axis=1, out=squares[:, 1:])
    rests = np.zeros_like(squares)  # summed from the end: a difference of sums would not be 0 where nothing moves
    np.cumsum(moves[:, ::-1] ** 2, axis=1, out=rests[:, -2::-1])
    length = moves.shape[1]
    until, since = np.clip(length - lags, 0, length), np.clip(-lags, 0, length)
    return np.where(lags >= 0, squares[:, until], rests[:, since]).T


def best_lag(sums: LagSums) -> LagFit | None:
    """The lag of the highest correlation, the mean over lively joints; None where nothing moves."""
    lively = sums.is_lively
    if not lively.any():
        return None
    norms = np.sqrt(sums.action_squares * sums.state_squares)[:, lively]
    correlations = np.divide(sums.products[:, lively], norms, out=np.zeros_like(norms), where=norms > 0).mean(axis=1)
    best = int(np.argmax(correlations))
    return LagFit(best - len(correlations) // 2, float(correlations[best]), int(lively.sum()))
