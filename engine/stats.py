"""Exact statistics of any number of rows in bounded memory.

Quantiles are order statistics found by radix selection: three passes over the data, each fixing 11,
11 and 10 more bits of the wanted values, with one histogram per column and no sorting.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q99": 0.99}
# Bits of a float32, most significant first, that each pass looks at.
DIGITS = (11, 11, 10)
BLOCK_ROWS = 1 << 15

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Summary:
    """LeRobot's statistics of one feature in one episode: lists of numbers, nested for cameras."""

    min: list[Any]
    max: list[Any]
    mean: list[Any]
    std: list[Any]
    count: list[int]


def summarize(values: NDArray[np.generic]) -> Summary:
    """Statistics over axis 0 of (T, D) or (T,) values; the latter count as D = 1."""
    columns = np.asarray(values).reshape(len(values), -1)
    doubles = columns.astype(np.float64)
    return Summary(
        min=columns.min(axis=0).tolist(),
        max=columns.max(axis=0).tolist(),
        mean=doubles.mean(axis=0).tolist(),
        std=doubles.std(axis=0).tolist(),
        count=[len(columns)],
    )


@dataclass(frozen=True)
class Statistics:
    """What GR00T normalises with, each of one feature's shape; std with ddof 0, quantiles interpolated linearly."""

    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    q01: Floats
    q99: Floats

    def to_json(self) -> dict[str, list[float]]:
        """Nested lists of floats that are exact as float32."""
        return {name: np.asarray(values, np.float32).tolist() for name, values in asdict(self).items()}


Rows = Mapping[str, Floats]


def dataset_statistics(episodes: Callable[[], Iterable[Rows]]) -> dict[str, Statistics]:
    """Statistics of every feature over all rows of all episodes.

    Args:
        episodes: Called once for each pass; yields each episode's finite float32 features, (T, ...).

    Returns:
        By feature, arrays of the feature's shape without T. Features without any row are left out.
    """
    columns: dict[str, _Columns] = {}
    for number, _ in enumerate(DIGITS):
        for block in _blocks(episodes()):
            for name, rows in block.items():
                if name not in columns:
                    columns[name] = _Columns(rows.shape[1:])
                columns[name].add(rows.reshape(len(rows), -1), number)
        for feature in columns.values():
            feature.finish_pass(number)
    return {name: feature.statistics() for name, feature in columns.items()}


def relative_actions(actions: Floats, states: Floats, *, horizon: int) -> Floats:
    """Every action chunk, relative to the state at its start: GR00T's view of a RELATIVE action.

    Args:
        actions: (T, D).
        states: (T, D).
        horizon: Steps in an action chunk, H.

    Returns:
        (max(T - H + 1, 0), H, D).
    """
    if len(actions) < horizon:
        return np.empty((0, horizon, actions.shape[1]), dtype=actions.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(actions, horizon, axis=0).transpose(0, 2, 1)
    return windows - states[: len(windows), None, :]


def _blocks(episodes: Iterable[Rows]) -> Iterator[dict[str, Floats]]:
    """Join episodes into blocks of many rows, so that each numpy call does much."""
    held: list[Rows] = []
    num_values = 0
    for rows in episodes:
        held.append(rows)
        num_values += sum(feature.size for feature in rows.values())
        if num_values >= BLOCK_ROWS * 64:
            yield _join(held)
            held, num_values = [], 0
    if held:
        yield _join(held)


def _join(held: list[Rows]) -> dict[str, Floats]:
    names = dict.fromkeys(name for rows in held for name in rows)
    joined = {name: np.concatenate([rows[name] for rows in held if name in rows]) for name in names}
    return {name: rows for name, rows in joined.items() if len(rows)}


class _Columns:
    """One feature's columns while passes go on: moments first, wanted order statistics digit by digit."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        size = int(np.prod(shape, dtype=np.int64))
        self.count = 0
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)  # sum of squared deviations from the mean
        self.low = np.full(size, np.inf, dtype=np.float32)
        self.high = np.full(size, -np.inf, dtype=np.float32)
        # For each wanted order statistic (pairs below and above each quantile) of each column:
        self.prefix = np.zeros((1, size), dtype=np.uint32)
        self.rank = np.zeros((1, size), dtype=np.int64)
        self.histogram = self._empty_histogram(0)

    def _empty_histogram(self, number: int) -> NDArray[np.int64]:
        return np.zeros((*self.prefix.shape, 1 << DIGITS[number]), dtype=np.int64)

    def add(self, rows: Floats, number: int) -> None:
        """Take in (n, columns) finite rows in pass `number`."""
        rows = rows.astype(np.float32, copy=False) + np.float32(0)  # -0.0 becomes 0.0
        if number == 0:
            self._add_moments(rows)
        keys = _ordered_bits(rows)
        rest = 32 - sum(DIGITS[: number + 1])
        num_bins = 1 << DIGITS[number]
        bins = (keys >> np.uint32(rest)) & np.uint32(num_bins - 1)
        flat = bins + np.arange(keys.shape[1], dtype=np.int64) * num_bins
        above = keys.astype(np.uint64) >> np.uint64(rest + DIGITS[number])
        for wanted, prefix in enumerate(self.prefix):
            counted = np.bincount(flat[above == prefix], minlength=self.histogram[wanted].size)
            self.histogram[wanted] += counted.reshape(self.histogram[wanted].shape)

    def _add_moments(self, rows: Floats) -> None:
        """Chan's parallel update of mean and squared deviations."""
        doubles = rows.astype(np.float64)
        count = self.count + len(rows)
        mean = doubles.mean(axis=0)
        delta = mean - self.mean
        self.squares += ((doubles - mean) ** 2).sum(axis=0) + delta**2 * (self.count * len(rows) / count)
        self.mean += delta * (len(rows) / count)
        self.count = count
        self.low = np.minimum(self.low, rows.min(axis=0))
        self.high = np.maximum(self.high, rows.max(axis=0))

    def finish_pass(self, number: int) -> None:
        """Fix the next digit of each wanted value: the bin in which its rank falls."""
        if number == 0:
            wanted = self._wanted_ranks()
            self.prefix = np.zeros((len(wanted), len(self.low)), dtype=np.uint32)
            self.rank = np.repeat(wanted[:, None], len(self.low), axis=1)
            self.histogram = np.repeat(self.histogram, len(wanted), axis=0)
        upto = self.histogram.cumsum(axis=2)
        digit = (upto <= self.rank[..., None]).sum(axis=2)
        before = np.take_along_axis(upto - self.histogram, digit[..., None], axis=2)[..., 0]
        self.rank = self.rank - before
        self.prefix = (self.prefix << np.uint32(DIGITS[number])) | digit.astype(np.uint32)
        if number + 1 < len(DIGITS):
            self.histogram = self._empty_histogram(number + 1)

    def _positions(self) -> NDArray[np.float64]:
        return np.array(list(QUANTILES.values())) * (self.count - 1)

    def _wanted_ranks(self) -> NDArray[np.int64]:
        below = np.floor(self._positions()).astype(np.int64)
        return np.stack([below, np.minimum(below + 1, self.count - 1)], axis=1).ravel()

    def statistics(self) -> Statistics:
        """The result, once every pass is finished."""
        found = _from_ordered_bits(self.prefix).astype(np.float64).reshape(len(QUANTILES), 2, -1)
        fraction = (self._positions() % 1)[:, None]
        quantiles = found[:, 0] + (found[:, 1] - found[:, 0]) * fraction
        shaped = {name: values.reshape(self.shape) for name, values in zip(QUANTILES, quantiles, strict=True)}
        return Statistics(
            mean=self.mean.reshape(self.shape),
            std=np.sqrt(self.squares / self.count).reshape(self.shape),
            min=self.low.reshape(self.shape),
            max=self.high.reshape(self.shape),
            **shaped,
        )


def _ordered_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """float32 as unsigned integers in the same order."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _from_ordered_bits(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    bits = np.where(keys >> 31, keys & np.uint32((1 << 31) - 1), ~keys)
    return bits.astype(np.uint32).view(np.float32)
