"""Compute the statistics that GR00T normalises with, stats.json and relative_stats.json, of a set of episodes.

Rows are read once and laid out by column in a temporary file, so that exact quantiles of any number of
episodes need no more memory than a few columns.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.column_store import ColumnStore
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.rows import read_table, read_vectors
from millrace.engine.dataset.stats import Statistics, column_statistics
from millrace.engine.layout import ACTION, STATE

# Episodes that a process reads at a time.
EPISODES_AT_ONCE = 32
# Memory for columns in processes, each of which holds five numbers a row at most.
COLUMNS_BYTES, ROW_BYTES = 4 << 30, 20


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
    parquets: Iterable[Path],
    features: Sequence[str],
    relative: Mapping[str, RelativeGroup],
    *,
    horizon: int,
    scratch: Path | None = None,
    num_processes: int = 1,
) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
    """Exact statistics of all rows of all episodes.

    Args:
        parquets: One file for each episode.
        features: Float columns that stats.json describes.
        relative: By joint group, where the RELATIVE ones lie.
        horizon: Steps in an action chunk, H.
        scratch: A folder with room for the columns, 4 bytes a value; by default the system's.
        num_processes: Processes that read and compute, at most.

    Returns:
        Statistics by feature, arrays (D,); statistics by relative group, arrays (H, D); groups without
        any chunk, as no episode has H frames, are left out.

    Raises:
        RowsError: a file is unreadable, or holds values that are not finite.
    """
    wanted = list(dict.fromkeys([*features, *(column for group in relative.values() for column in group.columns)]))
    read = partial(_read_episodes, wanted)
    with tempfile.TemporaryFile(dir=scratch) as file:
        store = ColumnStore(file)
        for episodes in map_in_processes(read, chunks(parquets, EPISODES_AT_ONCE), num_processes=num_processes):
            for rows in episodes:
                store.append(rows)
        store.flush()
        fitting = COLUMNS_BYTES // (ROW_BYTES * max(store.num_rows, 1))
        fitting = min(num_processes, max(1, fitting)) if store.is_shared else 1
        return _compute_columns(store, features, relative, horizon=horizon, num_processes=fitting)


def _read_episodes(columns: Sequence[str], paths: Sequence[Path]) -> list[dict[str, NDArray[np.float32]]]:
    """Columns of each episode, (T, D)."""
    tables = ((path, read_table(path, columns)) for path in paths)
    return [{name: read_vectors(table, name, where=path) for name in columns} for path, table in tables]


def _compute_columns(
    store: ColumnStore,
    features: Sequence[str],
    relative: Mapping[str, RelativeGroup],
    *,
    horizon: int,
    num_processes: int,
) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
    starts = store.chunk_starts(horizon)
    groups = relative if starts.any() else {}
    columns = [_Column(name, number) for name in features for number in range(store.width(name))]
    joints = [_Column(name, number, is_joint=True) for name in groups for number in range(groups[name].num_joints)]
    compute = partial(_compute, store, groups, starts, horizon)
    found = zip(
        [*columns, *joints], map_in_processes(compute, [*columns, *joints], num_processes=num_processes), strict=True
    )
    by_owner: dict[tuple[bool, str], list[Statistics]] = {}
    for column, statistics in found:
        by_owner.setdefault((column.is_joint, column.owner), []).append(statistics)
    return (
        {name: Statistics.stack(by_owner[False, name]) for name in features},
        {name: _transpose(Statistics.stack(by_owner[True, name])) for name in groups},
    )


@dataclass(frozen=True)
class _Column:
    """A column of a feature, or a joint of a relative group."""

    owner: str
    number: int
    is_joint: bool = False


def _compute(
    store: ColumnStore, groups: Mapping[str, RelativeGroup], starts: NDArray[np.bool_], horizon: int, column: _Column
) -> Statistics:
    """Statistics of a column; of a joint by step, (H,): of every action chunk relative to the state at its start."""
    if not column.is_joint:
        return column_statistics(store.column(column.owner, column.number))
    group = groups[column.owner]
    state = store.column(group.state_column, group.state.start + column.number)[: len(starts)][starts]
    action = store.column(group.action_column, group.action.start + column.number)
    steps = (action[step : step + len(starts)][starts] - state for step in range(horizon))
    return Statistics.stack([column_statistics(step) for step in steps])


def _transpose(statistics: Statistics) -> Statistics:
    return Statistics(**{name: values.swapaxes(0, 1) for name, values in vars(statistics).items()})


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


def column_store_bytes(num_rows: int, num_values: int) -> int:
    """Bytes that `compute_statistics` needs in its scratch folder: num_values of float32 a row."""
    return num_rows * num_values * np.dtype(np.float32).itemsize
