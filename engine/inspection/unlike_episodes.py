"""Episodes that are much longer, shorter or jerkier than the others, or nearly the same as another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.motion import Floats
from millrace.engine.sources import SourceEpisode
from millrace.engine.text import format_count

# Fewer tell nothing of what is usual.
MIN_EPISODES = 5
# Times the median length, and times the usual spread of lengths, both on a scale of ratios.
LENGTH_FACTOR, LENGTH_SPREADS = 3.0, 5.0
# Times the jerk of the median episode.
JERK_FACTOR = 4.0
# Rows that stand for an episode's path, and values a row.
NUM_PLACES, MAX_JOINTS = 32, 128
# In shares of a joint's range: what nearly equal episodes may differ by anywhere, and what one must move to be told.
NEAR_SHARE, LEAST_WAY = 0.01, 0.1
LENGTH_SLACK = 0.1
# Shares of a range that only broken values reach, whose squares are still finite.
FAR_OUT = 1e6


@dataclass(frozen=True, eq=False)
class EpisodePath:
    """The way of an episode's joints in shares of their range, at evenly spaced moments, (NUM_PLACES * D,) float32.

    digest: of all values.
    """

    episode: int
    num_frames: int
    places: NDArray[np.float32]
    digest: bytes | None


def summarize_path(episode: int, positions: Floats, digest: bytes | None) -> EpisodePath | None:
    """The path of an episode whose joints move; positions: (T, D) in shares of their range."""
    num_frames, num_joints = positions.shape
    if not num_frames or num_joints > MAX_JOINTS:
        return None
    rows = np.linspace(0, num_frames - 1, NUM_PLACES).round().astype(np.int64)
    places = np.clip(positions[rows], -FAR_OUT, FAR_OUT).astype(np.float32)
    is_moving = np.ptp(places, axis=0).max(initial=0) >= LEAST_WAY
    return EpisodePath(episode, num_frames, places.ravel(), digest) if is_moving else None


def length_findings(all_episodes: Sequence[SourceEpisode], inspected: Sequence[SourceEpisode]) -> Iterator[Finding]:
    """Findings about episodes of unusual length, as the metadata has it."""
    if len(all_episodes) < MIN_EPISODES:
        return
    lengths = np.log([episode.num_frames for episode in all_episodes])
    usual = np.median(lengths)
    most = max(np.log(LENGTH_FACTOR), LENGTH_SPREADS * float(np.median(np.abs(lengths - usual))))
    for episode in inspected:
        ratio = float(np.log(episode.num_frames) - usual)
        if abs(ratio) > most:
            here = format_count(episode.num_frames, "frame")
            yield make_finding(
                "odd-length", f"{here}, the median episode has {np.exp(usual):,.0f}", episode=episode.index
            )


def jerk_findings(jerks: Mapping[int, Floats], names: Sequence[str]) -> Iterator[Finding]:
    """Findings about episodes whose joints jerk more than in others.

    Args:
        jerks: Of each joint, by episode, (D,) each; see `measure_jerk`.
        names: Of the joints, D of them.
    """
    if len(jerks) < MIN_EPISODES:
        return
    values = np.stack(list(jerks.values()))
    usual = np.median(values, axis=0)
    whole = values.mean(axis=1)
    factors = whole / max(float(np.median(whole)), 1e-12)
    for number in np.flatnonzero((factors > JERK_FACTOR) & (np.median(whole) > 0)).tolist():
        worst = int(np.argmax(values[number] - usual))
        message = f"its joints jerk {factors[number]:.3g} times as much as in the median episode, {names[worst]} most"
        yield make_finding("jerky-episode", message, episode=list(jerks)[number])


def near_duplicate_findings(paths: Sequence[EpisodePath]) -> Iterator[Finding]:
    """Findings about episodes whose joints are nearly those of an earlier one throughout; equal ones are not told."""
    if len(paths) < 2:
        return
    places = np.stack([path.places for path in paths])
    centred = places - places.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    # A bound for candidates: no value may differ by more than NEAR_SHARE; with room for rounding.
    least = places.shape[1] * NEAR_SHARE**2 + 1e-4 * squares.max()
    for number in range(1, len(paths)):
        apart = squares[:number] + squares[number] - 2 * (centred[:number] @ centred[number])
        near = (one for one in np.flatnonzero(apart <= least).tolist() if _are_near(paths[one], paths[number]))
        if (twin := next(near, None)) is not None:
            message = f"its joints stay within {NEAR_SHARE:.0%} of their range of episode {paths[twin].episode}'s"
            yield make_finding("near-duplicate", message, episode=paths[number].episode)


def _are_near(one: EpisodePath, other: EpisodePath) -> bool:
    is_equal = one.digest is not None and one.digest == other.digest
    lengths = sorted((one.num_frames, other.num_frames))
    is_as_long = lengths[1] - lengths[0] <= LENGTH_SLACK * lengths[1]
    return not is_equal and is_as_long and bool(np.abs(one.places - other.places).max() <= NEAR_SHARE)
