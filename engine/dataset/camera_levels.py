"""meta/camera_levels.parquet: how often each level of each channel occurs in the counted frames of each clip.

Quantiles over any set of episodes follow from the counts, exactly, so that clips which are joined or copied need not be
decoded for them. A clip takes 1 kB; neither LeRobot nor GR00T reads the file.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.engine.dataset.rows import to_arrow, to_numbers
from millrace.engine.errors import RowsError
from millrace.engine.layout import CAMERA_LEVELS
from millrace.engine.sources import RowRange, RowReader, name_file_in_errors

SHAPE = NUM_CHANNELS, NUM_LEVELS = 3, 256
# Enough for image statistics, which only LeRobot reads; four milliseconds an episode.
NUM_SAMPLED_FRAMES = 4
# In a row group: of three cameras 2.4 MB in memory.
EPISODES_AT_ONCE = 256
EPISODE, COUNTS = "episode_index", pa.list_(pa.int64())
NUM_COUNTS = NUM_CHANNELS * NUM_LEVELS
NONE: NDArray[np.int64] = np.zeros(0, np.int64)

# Counts, (3, 256).
Levels = NDArray[np.int64]


def sampled_frames(num_frames: int) -> range:
    """The frames of a clip that are counted: every n-th from the first on, NUM_SAMPLED_FRAMES at most."""
    return range(0, num_frames, -(-num_frames // NUM_SAMPLED_FRAMES))


def are_of_clip(levels: Levels, num_frames: int, width: int, height: int) -> bool:
    """Whether counts may be those of a clip: of every other pixel in both directions of its counted frames."""
    num_pixels = len(sampled_frames(num_frames)) * -(-width // 2) * -(-height // 2)
    is_within = levels.shape == SHAPE and levels.min() >= 0 and levels.max() <= num_pixels  # so that no sum overflows
    return bool(is_within and np.all(levels.sum(axis=1) == num_pixels))


def pack_levels(levels: Levels) -> str:
    """Counts as a text of 1 to 1.5 kB."""
    planes = levels.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(planes.tobytes())).decode()


def unpack_levels(text: str) -> Levels | None:
    """Counts from their text; None where it is none."""
    size = 4 * NUM_COUNTS
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text), size)
    except (binascii.Error, zlib.error):
        return None
    if len(content) != size:
        return None
    planes = np.frombuffer(content, np.uint8).reshape(4, -1).T
    return np.ascontiguousarray(planes).view("<u4").reshape(SHAPE).astype(np.int64)


class CameraLevelsWriter:
    """Writes the file, a block of episodes in memory; none where there are no cameras."""

    def __init__(self, path: Path, cameras: Sequence[str]) -> None:
        """cameras: their features, each a column."""
        self.path, self.cameras = path, cameras
        self._waiting: list[Mapping[str, Levels]] = []
        self._num_written = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, levels: Mapping[str, Levels]) -> None:
        """Add the next episode: counts by camera, of those that are known."""
        if self.cameras:
            self._waiting.append(levels)
        if len(self._waiting) == EPISODES_AT_ONCE:
            self._flush()

    def add_block(self, block: pa.Table) -> None:
        """Add what `levels_block` made: of EPISODES_AT_ONCE episodes, but for the last of all."""
        with name_file_in_errors(self.path):
            self._writer = self._writer or self._open(block.schema)
            self._writer.write_table(block)
        self._num_written += len(block)

    def _flush(self) -> None:
        self.add_block(levels_block(self._num_written, self._waiting, self.cameras))
        self._waiting.clear()

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        encodings = {f"{camera}.list.element": "BYTE_STREAM_SPLIT" for camera in self.cameras}
        return pq.ParquetWriter(self.path, schema, compression="zstd", use_dictionary=False, column_encoding=encodings)

    def __enter__(self) -> "CameraLevelsWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._waiting and kind is None:
            self._flush()
        if self._writer is not None:
            with name_file_in_errors(self.path):
                self._writer.close()


def levels_block(first: int, episodes: Sequence[Mapping[str, Levels]], cameras: Sequence[str]) -> pa.Table:
    """Rows of the file.

    Args:
        first: Number of the first of the episodes.
        episodes: Counts by camera, of those that are known.
        cameras: Their features, each a column: a list for each episode, empty where nothing is known.
    """
    columns = [to_arrow(np.arange(first, first + len(episodes)))]
    for camera in cameras:
        found = [levels[camera].ravel() if camera in levels else NONE for levels in episodes]
        ends = np.cumsum([0, *map(len, found)], dtype=np.int32)
        columns.append(pa.ListArray.from_arrays(to_arrow(ends), to_arrow(np.concatenate(found))))
    schema = pa.schema([(EPISODE, pa.int64()), *((camera, COUNTS) for camera in cameras)])
    return pa.Table.from_arrays(columns, schema=schema)


class CameraLevels:
    """Reads the file, a block of episodes in memory; where it is missing or damaged, nothing is known."""

    def __init__(self, root: Path) -> None:
        """root: the dataset."""
        self.path, self.root = root / CAMERA_LEVELS, root
        self._reader = RowReader()
        self._block: pa.Table | None = None
        self._first = 0

    def find(self, episode: int) -> dict[str, Levels]:
        """Counts by camera, of those that are known."""
        first = episode - episode % EPISODES_AT_ONCE
        if self._block is None or first != self._first:
            self._block, self._first = self._read(first), first
        row = episode - first
        if row >= len(self._block) or not np.array_equal(_to_numbers(self._block[EPISODE].slice(row, 1)), [episode]):
            return {}
        found = {name: _to_numbers(self._block[name].slice(row, 1)) for name in self._block.column_names}
        return {name: counts.reshape(SHAPE) for name, counts in found.items() if counts.shape == (1, NUM_COUNTS)}

    def _read(self, first: int) -> pa.Table:
        rows = RowRange(self.path, root=self.root)
        try:
            names = self._reader.read_names(rows)
            stop = min(self._reader.count_rows(rows), first + EPISODES_AT_ONCE)
            block = RowRange(self.path, first, max(stop, first), root=self.root)
            return self._reader.read_ranges([block], [EPISODE], optional=names)
        except RowsError:
            return pa.table({})


def _to_numbers(cells: pa.ChunkedArray) -> NDArray[np.int64]:
    """Whole numbers, (N,) or (N, D); none where a cell holds anything else."""
    try:
        values = to_numbers(cells)
    except RowsError:
        return NONE
    return values if values.dtype == np.int64 else NONE
