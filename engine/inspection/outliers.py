"""Episodes that are unlike all others of their dataset: in other units, out of range, flipped, or twice the same."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import degrees

import numpy as np

from millrace.engine.inspection.columns import Columns, is_joints
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.motion import LEAST_SHARE_OF_WIDEST, Extent, Floats

# Fewer tell nothing of what is usual.
MIN_EPISODES = 4
# Times the others' range and magnitude, in most joints at once.
UNIT_FACTOR = 6.0
# Less is a robot that hardly moves, not another unit.
MAX_UNIT_FACTOR = 5000.0
UNITS = {degrees(1): ("degrees", "radians"), 1000.0: ("mm", "m")}
UNIT_SLACK = 1.6
# Times a joint's usual range, and as a share of the widest joint's: how far outside an episode must go.
OUTSIDE_FACTOR, OUTSIDE_SHARE = 3.0, 0.5
# Shares of a joint's range: how near to its place all others start, and how near to the opposite one does.
START_SHARE, END_SHARE, NEAR_END = 0.15, 0.3, 0.25
MIN_FLIPPED_EPISODES = 5


@dataclass(frozen=True, eq=False)
class EpisodeSummary:
    """Summary of an episode's columns, by name, (D,) each: lowest and highest value; ends: the first and the last.

    digest: of the values of all joints; None where they are not sound.
    """

    episode: int
    extents: Mapping[str, Extent]
    ends: Mapping[str, Extent]
    digest: bytes | None = None


def outlier_findings(summaries: Sequence[EpisodeSummary], columns: Columns) -> Iterator[Finding]:
    """Findings that only the comparison of episodes shows."""
    units: dict[int, Finding] = {}
    for name, among in _by_column(summaries):
        for finding in _unit_findings(name, among):
            units.setdefault(finding.episode or 0, finding)
    yield from units.values()
    rest = [one for one in summaries if one.episode not in units]
    for name, among in _by_column(rest):
        yield from _range_findings(name, among, columns)
        yield from _flip_findings(name, among, columns)
    yield from _duplicate_findings(summaries)


def usual_extents(summaries: Sequence[EpisodeSummary]) -> dict[str, Extent]:
    """Lowest and highest value of each column over the episodes in usual units, without what lies far outside."""
    extents: dict[str, Extent] = {}
    for name, among in _by_column(summaries):
        odd = {finding.episode for finding in _unit_findings(name, among)}
        usual = [one for one in among if one.episode not in odd]
        lows, highs = _stack(usual, name)
        low, high = _quartiles(lows, highs) if len(usual) >= MIN_EPISODES else (lows.min(axis=0), highs.max(axis=0))
        slack = np.maximum(OUTSIDE_FACTOR * (high - low), OUTSIDE_SHARE * (high - low).max(initial=0))
        extents[name] = np.maximum(lows.min(axis=0), low - slack), np.minimum(highs.max(axis=0), high + slack)
    return extents


def _by_column(summaries: Sequence[EpisodeSummary]) -> Iterator[tuple[str, list[EpisodeSummary]]]:
    """The episodes that have each column of joints."""
    by_column: dict[str, list[EpisodeSummary]] = defaultdict(list)
    for one in summaries:
        for name in one.extents:
            if is_joints(name):
                by_column[name].append(one)
    yield from by_column.items()


def _stack(summaries: Sequence[EpisodeSummary], name: str) -> tuple[Floats, Floats]:
    """(E, D) each."""
    lows, highs = zip(*(one.extents[name] for one in summaries), strict=True)
    return np.stack(lows), np.stack(highs)


def _quartiles(lows: Floats, highs: Floats) -> Extent:
    """Where joints usually go, (D,) each: a quarter of the episodes may go elsewhere."""
    return np.quantile(lows, 0.25, axis=0), np.quantile(highs, 0.75, axis=0)


def _unit_findings(name: str, summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    """Episodes whose joints go many times as far as the others', and lie as many times as far from 0."""
    if len(summaries) < MIN_EPISODES:
        return
    lows, highs = _stack(summaries, name)
    ways, sizes = highs - lows, np.maximum(np.abs(lows), np.abs(highs))
    way, size = np.median(ways, axis=0), np.median(sizes, axis=0)
    moves = way > LEAST_SHARE_OF_WIDEST * way.max(initial=0)
    if moves.sum() < 2:
        return
    way_factors = np.median(ways[:, moves] / way[moves], axis=1)
    size_factors = np.median(sizes[:, moves] / size[moves], axis=1)
    for one, by_way, by_size in zip(summaries, way_factors.tolist(), size_factors.tolist(), strict=True):
        factor = by_size if by_size > 1 else 1 / max(by_size, 1e-9)
        is_scaled = 1 / 3 < by_way / max(by_size, 1e-9) < 3
        if UNIT_FACTOR <= factor <= MAX_UNIT_FACTOR and is_scaled:
            yield make_finding("outlier-episode", _unit_message(name, by_size, factor), episode=one.episode)


def _unit_message(name: str, by_size: float, factor: float) -> str:
    near = next((units for unit, units in UNITS.items() if 1 / UNIT_SLACK < factor / unit < UNIT_SLACK), None)
    times = f"{factor:.3g} times" if by_size > 1 else f"1/{factor:.3g} of"
    mine, theirs = (near if by_size > 1 else near[::-1]) if near else ("", "")
    hint = f"; is it in {mine}, and the others in {theirs}?" if near else ""
    return f"'{name}': its joints go {times} as far as in the other episodes{hint}"


def _range_findings(name: str, summaries: Sequence[EpisodeSummary], columns: Columns) -> Iterator[Finding]:
    """Joints that leave the range that they usually keep by several times its width."""
    if len(summaries) < MIN_EPISODES:
        return
    lows, highs = _stack(summaries, name)
    low, high = _quartiles(lows, highs)
    way = high - low
    least = np.maximum(OUTSIDE_FACTOR * way, OUTSIDE_SHARE * way.max(initial=0))
    is_far = (np.maximum(low - lows, highs - high) > least) & (way > LEAST_SHARE_OF_WIDEST * way.max(initial=0))
    for number, joint in np.argwhere(is_far).tolist():
        here = f"from {lows[number, joint]:.3g} to {highs[number, joint]:.3g}"
        usual = f"from {low[joint]:.3g} to {high[joint]:.3g}"
        message = f"'{name}': {columns.joints(name)[joint]} goes {here}, in most episodes {usual}"
        yield make_finding("outlier-episode", message, episode=summaries[number].episode)


def _flip_findings(name: str, summaries: Sequence[EpisodeSummary], columns: Columns) -> Iterator[Finding]:
    """Joints that start and end at the opposite of where they do in all others, as a gripper with another sense."""
    if len(summaries) < MIN_FLIPPED_EPISODES:
        return
    lows, highs = _stack(summaries, name)
    low, way = np.median(lows, axis=0), np.median(highs - lows, axis=0)
    unit = np.where(way > 0, way, np.inf)
    starts, ends = ((np.stack([one.ends[name][place] for one in summaries]) - low) / unit for place in (0, 1))
    start, end = np.median(starts, axis=0), np.median(ends, axis=0)
    is_flipped = (np.abs(starts - (1 - start)) <= START_SHARE) & (np.abs(ends - (1 - end)) <= END_SHARE)
    is_flipped &= (np.abs(starts - start) > 1 - 2 * NEAR_END) & (way > LEAST_SHARE_OF_WIDEST * way.max(initial=0))
    is_usual = np.abs(starts - start) <= START_SHARE
    for number, joint in np.argwhere(is_flipped & ((~is_usual).sum(axis=0) == 1)).tolist():
        first, last = (values[joint] for values in summaries[number].ends[name])
        message = (
            f"'{name}': {columns.joints(name)[joint]} starts at {first:.3g} and ends at {last:.3g}, "
            "the reverse of all other episodes: is it inverted?"
        )
        yield make_finding("flipped-joint", message, episode=summaries[number].episode)


def _duplicate_findings(summaries: Sequence[EpisodeSummary]) -> Iterator[Finding]:
    first: dict[bytes, int] = {}
    for one in summaries:
        if one.digest is not None and first.setdefault(one.digest, one.episode) != one.episode:
            message = f"its joints are those of episode {first[one.digest]}, in every row"
            yield make_finding("same-episode", message, episode=one.episode)
