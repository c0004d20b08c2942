"""Compute the statistics that GR00T normalises with, stats.json and relative_stats.json, of a set of episodes.

Rows are read block by block, of which sums and the numbers near both ends of each column are kept: exact quantiles of
any number of episodes need little memory, and some hundredths of the rows' size on disk.
"""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.moments import Moments
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.rows import read_known_vectors, read_table, read_vectors
from millrace.engine.dataset.stats import Statistics
from millrace.engine.dataset.tails import Cuts, Tails, TailStore, kept_share
from millrace.engine.layout import ACTION, STATE
from millrace.engine.sources import FileState

Column = NDArray[np.float32]
Rows = Mapping[str, Column]

# Episodes that a process reads at a time, and rows that it holds together at most, but for a longer episode.
EPISODES_AT_ONCE = 256
BLOCK_ROWS = 1 << 17
# All numbers of small datasets are kept; of others a sample of the episodes tells which.
FEW_EPISODES, FEW_BYTES = 64, 32 << 20
SAMPLED_PART, MIN_SAMPLED, MAX_SAMPLED = 32, 32, 4096
# Fewer are read sooner than another process starts.
SAMPLED_A_PROCESS = 1 << 10
# Rows of the sample, and of each of its episodes at least.
SAMPLED_ROWS, ROWS_OF_EACH = 4096, 32


@dataclass(frozen=True)
class RelativeGroup:
    """Where a RELATIVE joint group lies in the state column and in the action column."""

    state: slice
    action: slice
    state_column: str = STATE
    action_column: str = ACTION

    @property
    def columns(self) -> tuple[str, str]:
        """Both columns."""
        return self.state_column, self.action_column

    @property
    def num_joints(self) -> int:
        """Joints of the group."""
        return len(range(self.state.start, self.state.stop))


def compute_statistics(
    parquets: Sequence[Path],
    features: Sequence[str],
    relative: Mapping[str, RelativeGroup],
    *,
    horizon: int,
    digests: Sequence[bytes] | None = None,
    scratch: Path | None = None,
    num_processes: int = 1,
    on_episode: Callable[[int], None] = lambda num_done: None,
) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
    """Exact statistics of all rows of all episodes, the same for any number of processes.

    Args:
        parquets: One file for each episode.
        features: Float columns that stats.json describes.
        relative: By joint group, where the RELATIVE ones lie.
        horizon: Steps in an action chunk, H.
        digests: SHA-256 of each file, where they are files of our own making: see `read_known_vectors`.
        scratch: A folder with room for what is kept, see `tails_bytes`; by default the system's.
        num_processes: Processes that read and compute, at most.
        on_episode: Told how many episodes have been read.

    Returns:
        Statistics by feature, arrays (D,); statistics by relative group, arrays (H, D); groups without
        any chunk, as no episode has H frames, are left out.

    Raises:
        RowsError: a file is unreadable, or holds values that are not finite.
    """
    files = _Files(parquets, digests)
    needed = dict.fromkeys([*features, *(name for group in relative.values() for name in group.columns)])
    widths = {name: values.shape[1] for name, values in files.read_first(needed).items()}
    wanted = _Wanted(widths, tuple(features), relative, horizon)
    cuts = _sample_cuts(wanted, files, num_processes)
    with tempfile.TemporaryFile(dir=scratch) as file:
        while True:
            tails = TailStore(file, cuts)
            moments = _read_all(wanted, files, tails, num_processes=num_processes, on_episode=on_episode)
            if (is_enough := tails.is_enough(moments.count)).all():
                return wanted.split(_to_statistics(moments, tails))
            cuts = cuts.without(~is_enough)
            file.seek(0)


def tails_bytes(num_episodes: int, num_rows: int, num_columns: int) -> int:
    """Bytes that `compute_statistics` needs in its scratch folder, about; each step of a RELATIVE joint is a column."""
    share = _sampled_share(num_episodes) if num_episodes > FEW_EPISODES else 1.0
    return round(2 * min(share, 1.0) * num_rows * num_columns * np.dtype(np.float32).itemsize)


@dataclass(frozen=True)
class _Wanted:
    """Which columns are wanted: those of the features, then the steps of each joint of the RELATIVE groups.

    widths: of the columns of rows that they are made of.
    """

    widths: Mapping[str, int]
    features: tuple[str, ...]
    groups: Mapping[str, RelativeGroup]
    horizon: int

    @property
    def num_columns(self) -> int:
        """How many they are."""
        num_joints = sum(group.num_joints for group in self.groups.values())
        return sum(self.widths[name] for name in self.features) + num_joints * self.horizon

    def columns(self, episodes: Sequence[Rows]) -> Iterator[Column]:
        """The columns of a block of episodes, (N,) each; RELATIVE ones have a number for each whole action chunk."""
        block = {
            name: np.ascontiguousarray(np.concatenate([rows[name] for rows in episodes]).T) for name in self.widths
        }
        for name in self.features:
            yield from block[name]
        starts = _chunk_starts([*map(_num_rows, episodes)], self.horizon)
        for group in self.groups.values():
            states, actions = block[group.state_column][group.state], block[group.action_column][group.action]
            for state, action in zip(states, actions, strict=True):
                first = state[starts]
                yield from (action[starts + step] - first for step in range(self.horizon))

    def split(self, columns: Statistics) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
        """Statistics of all columns, by feature, (D,), and by group, (H, D); without groups that have no numbers."""
        features, groups, start = {}, {}, 0
        for name in self.features:
            features[name] = columns.take(start, (self.widths[name],))
            start += self.widths[name]
        for name, group in self.groups.items():
            found = columns.take(start, (group.num_joints, self.horizon))
            start += group.num_joints * self.horizon
            if np.isfinite(found.max).all():
                groups[name] = Statistics(**{stat: values.T for stat, values in vars(found).items()})
        return features, groups


@dataclass(frozen=True)
class _Files:
    """The rows of each episode, with digests where they are known."""

    paths: Sequence[Path]
    digests: Sequence[bytes] | None

    def chunks(self, numbers: Sequence[int]) -> Iterator[list[tuple[Path, bytes | None]]]:
        """Files of these episodes, as many as a process reads at a time."""
        known = self.digests
        files = ((self.paths[number], None if known is None else known[number]) for number in numbers)
        return chunks(files, EPISODES_AT_ONCE)

    def read_first(self, names: Iterable[str]) -> Rows:
        """Columns of the first episode."""
        ((first, *_),) = islice(self.chunks([0]), 1)
        return _read_episode(list(names), first)

    @property
    def are_few(self) -> bool:
        """Whether all of their numbers can be kept."""
        return len(self.paths) <= FEW_EPISODES and self._num_bytes() <= FEW_BYTES

    def _num_bytes(self) -> int:
        return sum(FileState.read(path).num_bytes for path in self.paths)


def _read_episode(names: Collection[str], file: tuple[Path, bytes | None]) -> Rows:
    """Columns of an episode, (T, D)."""
    path, digest = file
    if digest is not None:
        return read_known_vectors(path, names, digest)
    table = read_table(path, names)
    return {name: read_vectors(table, name, where=path) for name in names}


def _chunk_starts(lengths: Sequence[int], horizon: int) -> NDArray[np.int64]:
    """The rows of a block at which an action chunk of H steps begins that ends within its episode."""
    ends = np.cumsum(lengths)
    left = np.repeat(ends, lengths) - np.arange(ends[-1])
    return np.flatnonzero(left >= horizon)


def _sample_cuts(wanted: _Wanted, files: _Files, num_processes: int) -> Cuts:
    """Where to cut columns off, by rows of some episodes; nowhere where there are few."""
    num_episodes = len(files.paths)
    if files.are_few:
        return Cuts.none(wanted.num_columns)
    num_sampled = _num_sampled(num_episodes)
    numbers = np.linspace(0, num_episodes - 1, num_sampled).round().astype(int).tolist()
    sample = partial(_sample, wanted, max(ROWS_OF_EACH, -(-SAMPLED_ROWS // num_sampled)))
    num_processes = min(num_processes, 1 + num_sampled // SAMPLED_A_PROCESS)
    parts = list(map_in_processes(sample, files.chunks(numbers), num_processes=num_processes))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Cuts.of_sample(columns, _sampled_share(num_episodes))


def _num_sampled(num_episodes: int) -> int:
    return min(num_episodes, max(MIN_SAMPLED, min(num_episodes // SAMPLED_PART, MAX_SAMPLED)))


def _sampled_share(num_episodes: int) -> float:
    return kept_share(num_sampled=_num_sampled(num_episodes), num_episodes=num_episodes, num_rows=SAMPLED_ROWS)


def _sample(wanted: _Wanted, num_rows: int, files: Sequence[tuple[Path, bytes | None]]) -> list[Column]:
    """Some numbers of each column of each episode, drawn at random: motions repeat, as any fixed step would."""
    rng = np.random.default_rng(0)
    drawn = [_draw(wanted, num_rows, _read_episode(wanted.widths, file), rng) for file in files]
    return [np.concatenate(column) for column in zip(*drawn, strict=True)]


def _draw(wanted: _Wanted, num_rows: int, rows: Rows, rng: np.random.Generator) -> list[Column]:
    places: dict[int, NDArray[np.int64]] = {}
    drawn = []
    for column in wanted.columns([rows]):
        num = len(column)
        if num and num not in places:
            places[num] = rng.integers(0, num, num_rows)
        drawn.append(column[places[num]] if num else column)
    return drawn


def _read_all(
    wanted: _Wanted, files: _Files, tails: TailStore, *, num_processes: int, on_episode: Callable[[int], None]
) -> Moments:
    """The sums of all rows, block by block, in the episodes' order; what is kept of their ends goes to `tails`."""
    found: Moments | None = None
    num_done = 0
    summarize = partial(_summarize, wanted, tails.cuts)
    for parts in map_in_processes(summarize, files.chunks(range(len(files.paths))), num_processes=num_processes):
        for num_episodes, moments, ends in parts:
            found = moments if found is None else found.merge(moments)
            tails.append(ends)
            num_done += num_episodes
        on_episode(num_done)
    assert found is not None, "there is an episode"
    return found


def _summarize(
    wanted: _Wanted, cuts: Cuts, files: Sequence[tuple[Path, bytes | None]]
) -> list[tuple[int, Moments, Tails]]:
    """For each block of some episodes how many they are, their sums and their ends."""
    parts = []
    for block in _blocks(_read_episode(wanted.widths, file) for file in files):
        # Twice, as all RELATIVE steps of a long horizon together would take hundreds of MB.
        parts.append((len(block), Moments.of(wanted.columns(block)), Tails.of(wanted.columns(block), cuts)))
    return parts


def _blocks(episodes: Iterable[Rows]) -> Iterator[list[Rows]]:
    """Episodes in lists that end with the one that reaches BLOCK_ROWS rows."""
    block: list[Rows] = []
    num_rows = 0
    for rows in episodes:
        block.append(rows)
        num_rows += _num_rows(rows)
        if num_rows >= BLOCK_ROWS:
            yield block
            block, num_rows = [], 0
    if block:
        yield block


def _num_rows(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _to_statistics(moments: Moments, tails: TailStore) -> Statistics:
    """Statistics of all columns, (C,); of those without numbers 0, and infinity."""
    counts = enumerate(moments.count.tolist())
    quantiles = np.array([tails.quantiles(column, count) if count else (0.0, 0.0) for column, count in counts])
    return Statistics(moments.mean, moments.std, moments.low, moments.high, quantiles[:, 0], quantiles[:, 1])


def float32_moments(parquets: Sequence[Path], feature: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and std of a feature, (D,) each, with GR00T's own rounding: it adds up rows in float32, one by one.

    Of values far from 0 and many rows that differs from the exact mean (gr00t/data/stats.py, np.mean and np.std over
    axis 0): 1.57 in each of a million rows has a mean of 1.584.
    """
    num_rows = sum(len(read_table(path, [feature])) for path in parquets)
    mean = _float32_sum(parquets, feature, lambda values: values) / np.float32(num_rows)
    squares = _float32_sum(parquets, feature, lambda values: np.square(values - mean))
    return mean, np.sqrt(squares / np.float32(num_rows))


def _float32_sum(
    parquets: Iterable[Path], feature: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    total: NDArray[np.float32] | None = None
    for path in parquets:
        values = change(read_vectors(read_table(path, [feature]), feature, where=path))
        # A sum over the first of two axes goes row by row, so that episodes can be added to what there is.
        total = np.add.reduce(values if total is None else np.vstack([total, values]), axis=0)
    assert total is not None, "there is an episode"
    return total
