"""Compute the statistics that GR00T normalises with, stats.json and relative_stats.json, of a set of episodes.

Rows are read once and laid out by column in a temporary file, so that exact quantiles of any number of
episodes need no more memory than a few columns.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.rows import read_table, read_vectors
from millrace.engine.dataset.stats import Statistics, column_statistics
from millrace.engine.layout import ACTION, STATE

# Values held back before they are written to the file.
BUFFERED_VALUES = 1 << 21


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


def compute_statistics(
    parquets: Iterable[Path],
    features: Sequence[str],
    relative: Mapping[str, RelativeGroup],
    *,
    horizon: int,
    scratch: Path | None = None,
) -> tuple[dict[str, Statistics], dict[str, Statistics]]:
    """Exact statistics of all rows of all episodes.

    Args:
        parquets: One file for each episode.
        features: Float columns that stats.json describes.
        relative: By joint group, where the RELATIVE ones lie.
        horizon: Steps in an action chunk, H.
        scratch: A folder with room for the columns, 4 bytes a value; by default the system's.

    Returns:
        Statistics by feature, arrays (D,); statistics by relative group, arrays (H, D); groups without
        any chunk, as no episode has H frames, are left out.

    Raises:
        RowsError: a file is unreadable, or holds values that are not finite.
    """
    columns = [column for group in relative.values() for column in group.columns]
    with tempfile.TemporaryFile(dir=scratch) as file:
        store = _ColumnStore(file)
        for path in parquets:
            table = read_table(path, wanted := list(dict.fromkeys([*features, *columns])))
            store.append({name: read_vectors(table, name, where=path) for name in wanted})
        store.flush()
        starts = store.chunk_starts(horizon)
        return (
            {name: Statistics.stack([column_statistics(c) for c in store.columns(name)]) for name in features},
            {name: _relative(store, group, starts, horizon) for name, group in relative.items() if starts.any()},
        )


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


def _relative(store: "_ColumnStore", group: RelativeGroup, starts: NDArray[np.bool_], horizon: int) -> Statistics:
    """Every action chunk relative to the state at its start, as GR00T sees a RELATIVE action."""
    by_joint = []
    for joint in range(group.state.stop - group.state.start):
        state = store.column(group.state_column, group.state.start + joint)[: len(starts)][starts]
        action = store.column(group.action_column, group.action.start + joint)
        steps = (action[step : step + len(starts)][starts] - state for step in range(horizon))
        by_joint.append(Statistics.stack([column_statistics(step) for step in steps]))
    stacked = Statistics.stack(by_joint)
    return Statistics(**{name: values.swapaxes(0, 1) for name, values in vars(stacked).items()})


@dataclass(frozen=True)
class _Block:
    """Rows of a feature in the store's file, transposed: (D, n) float32."""

    offset: int
    width: int
    num_rows: int


class _ColumnStore:
    """Episodes' features, transposed block by block in one file of float32, however many columns there are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._blocks: dict[str, list[_Block]] = {}
        self._held: list[Mapping[str, NDArray[np.float32]]] = []
        self._num_held = 0
        self._lengths: list[int] = []

    def append(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Add one episode's features, each (T, D)."""
        self._held.append(rows)
        self._num_held += sum(values.size for values in rows.values())
        self._lengths.append(len(next(iter(rows.values()))))
        if self._num_held >= BUFFERED_VALUES:
            self.flush()

    def flush(self) -> None:
        """Write what is still buffered, before anything is read."""
        for name in self._held[0] if self._held else ():
            block = np.concatenate([rows[name] for rows in self._held]).T
            self._blocks.setdefault(name, []).append(_Block(self._file.tell(), *block.shape))
            np.ascontiguousarray(block).tofile(self._file)
        self._held, self._num_held = [], 0

    def column(self, name: str, number: int) -> NDArray[np.float32]:
        """One column of a feature over all episodes, (N,)."""
        values = np.empty(sum(block.num_rows for block in self._blocks[name]), dtype=np.float32)
        start = 0
        for block in self._blocks[name]:
            self._file.seek(block.offset + number * block.num_rows * values.itemsize)
            values[start : start + block.num_rows] = np.fromfile(self._file, np.float32, block.num_rows)
            start += block.num_rows
        return values

    def columns(self, name: str) -> Iterable[NDArray[np.float32]]:
        """Each column of a feature, one in memory at a time."""
        return (self.column(name, number) for number in range(self._blocks[name][0].width))

    def chunk_starts(self, horizon: int) -> NDArray[np.bool_]:
        """Whether an action chunk of H steps beginning at each frame ends within its episode, (N - H + 1,)."""
        lengths = np.array(self._lengths)
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
        return left[: max(len(left) - horizon + 1, 0)] >= horizon
