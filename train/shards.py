"""Sparse access to a dataset: only the columns and frames that a shard's steps need. Knows no GR00T and no torch."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.embodiments import MillraceError
from millrace.engine.dataset.rows import read_table, to_numbers
from millrace.engine.video.rgb import DecodedFrame, FrameKind, ValueRange, decode_rgb_frames
from millrace.train.training_dataset import TrainingDataError

# Frames of a clip that are compared with the reference's, once for each kind of picture.
NUM_COMPARED = 4
# Red, green and blue this far apart make a pixel coloured: only colour tells one conversion matrix from another.
COLOURED = 32

# (path, increasing indices) -> (N, H, W, 3) uint8 RGB
ReadFrames = Callable[[Path, NDArray[np.int64]], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Visit:
    """The steps that one shard takes of one episode, by split, in their shuffled order."""

    episode: int
    splits: tuple[NDArray[np.int64], ...]

    @property
    def steps(self) -> NDArray[np.int64]:
        """All steps, split after split."""
        return np.concatenate(self.splits)


def group_visits(entries: Iterable[tuple[int, NDArray[np.int64]]]) -> Iterator[Visit]:
    """A shard's entries (episode, steps), those of the same episode that follow each other taken together."""
    for episode, group in groupby(entries, key=itemgetter(0)):
        yield Visit(int(episode), tuple(steps for _, steps in group))


def step_rows(
    steps: NDArray[np.int64], deltas: Sequence[int], *, num_rows: int, pad: bool = False
) -> NDArray[np.int64]:
    """The rows that each step takes, shape (num_steps, num_deltas).

    Rows before the first are counted from the episode's end, as GR00T does (its issue 771), unless `pad`
    holds them at the first, and those past the last at the last.

    Raises:
        TrainingDataError: without `pad`, a step needs a row that is not there.
    """
    rows = steps[:, None] + np.asarray(deltas, dtype=np.int64)
    if pad:
        return np.clip(rows, 0, num_rows - 1)
    outside = (rows < -num_rows) | (rows >= num_rows)
    if outside.any():
        step, delta = np.argwhere(outside)[0]
        raise TrainingDataError(f"step {steps[step]} needs row {rows[step, delta]}, but there are {num_rows} rows")
    return np.where(rows < 0, rows + num_rows, rows)


def read_step_columns(path: Path, columns: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Columns of a parquet file as arrays: (num_rows,) of scalars, (num_rows, D) of lists.

    Raises:
        TrainingDataError: the file or a column is missing or unreadable, or rows differ in width.
    """
    try:
        table = read_table(path, columns)
    except MillraceError as error:
        raise TrainingDataError(str(error)) from error
    return {name: _read_numbers(table[name], f"{path}, column {name!r}") for name in table.column_names}


def _read_numbers(column: pa.ChunkedArray, where: str) -> NDArray[np.generic]:
    if column.null_count:
        raise TrainingDataError(f"{where}: {column.null_count} rows are empty")
    try:
        return to_numbers(column, fill_nan=True)
    except MillraceError as error:
        raise TrainingDataError(f"{where}: rows differ in width or hold no numbers: it {error}") from error


class FrameReader:
    """Frames of mp4 files, pixel for pixel as a reference reads them.

    A kind of frame (format, size, colour tags) is converted here once coloured frames of it proved equal to the
    reference's. The reference reads kinds that differ, such as 10-bit video.
    Holds no open files.

    Args:
        reference: Reads frames as they are expected.
    """

    def __init__(self, reference: ReadFrames) -> None:
        self._reference = reference
        self._ranges: dict[FrameKind, ValueRange | None] = {}

    def read(self, path: Path, indices: NDArray[np.int64], *, num_frames: int) -> dict[int, NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB of each of `indices` (strictly increasing) in a file of `num_frames`.

        Raises:
            MillraceError: the file is missing, damaged, or holds another number of frames.
        """
        frames: dict[int, NDArray[np.uint8]] = {}
        if not len(indices):  # an episode shorter than an action chunk is in the shards, but has no steps
            return frames
        decoded = decode_rgb_frames(path, indices, num_frames=num_frames)
        for index, frame in zip(indices.tolist(), decoded, strict=True):
            kind = frame.kind
            if kind not in self._ranges:
                self._compare(path, indices[:NUM_COMPARED], num_frames=num_frames)
            value_range = self._ranges.get(kind)
            if value_range is None:
                return dict(zip(indices.tolist(), self._reference(path, indices), strict=True))
            frames[index] = frame.to_rgb(value_range)
        return frames

    def _compare(self, path: Path, indices: NDArray[np.int64], *, num_frames: int) -> None:
        """Find the value range by which these frames equal the reference's; grey frames decide nothing."""
        expected = self._reference(path, indices)
        decoded = list(decode_rgb_frames(path, indices, num_frames=num_frames))
        for value_range in decoded[0].kind.ranges:
            if _are_equal(decoded, expected, value_range):
                if np.ptp(expected, axis=-1).max() > COLOURED:
                    self._ranges[decoded[0].kind] = value_range
                return
        self._ranges[decoded[0].kind] = None


def _are_equal(frames: Sequence[DecodedFrame], expected: NDArray[np.uint8], value_range: ValueRange) -> bool:
    return all(
        np.array_equal(frame.to_rgb(value_range), wanted) for frame, wanted in zip(frames, expected, strict=True)
    )


class FrameStock:
    """Decoded frames, each freed after its last use."""

    def __init__(self, frames: dict[int, NDArray[np.uint8]], wanted: NDArray[np.int64]) -> None:
        self._frames = frames
        self._left = Counter(wanted.ravel().tolist())

    def take(self, index: int) -> NDArray[np.uint8]:
        """The frame at an index."""
        self._left[index] -= 1
        return self._frames[index] if self._left[index] else self._frames.pop(index)
