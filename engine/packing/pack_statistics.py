"""Read what the statistics of a dataset are made of: each episode's rows, and a few frames of its clips."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.camera_levels import CameraLevels, Levels, are_of_clip, sampled_frames
from millrace.engine.dataset.column_store import ColumnStore
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.manifest import read_manifest_head
from millrace.engine.dataset.metadata import Episode, Metadata
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.record import FileRecord
from millrace.engine.dataset.rows import read_numbers, read_table
from millrace.engine.dataset.stats import replace_truth
from millrace.engine.layout import CAMERA_LEVELS
from millrace.engine.packing.summaries import (
    LevelCounts,
    Summary,
    stack_columns,
    summarize_column,
    summarize_counts,
    summarize_range,
    summarize_values,
)
from millrace.engine.sources import Clip, why_foreign
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.histogram import RgbHistogram

# Episodes that a process reads at a time.
EPISODES_AT_ONCE = 16
TASK_INDEX = "task_index"
# Whole numbers of which lengths or a count of each tell all.
COUNTED = ("index", "episode_index", "frame_index", TASK_INDEX)
TEXT = "string"


@dataclass(frozen=True, eq=False)
class EpisodeStatistics:
    """What is read of an episode.

    summaries: by feature; texts have none. numbers: its columns of numbers but those of COUNTED, (T, D). task_index:
    (T,). levels: by camera.
    """

    summaries: dict[str, Summary]
    numbers: dict[str, NDArray[Any]]
    task_index: NDArray[np.int64]
    levels: dict[str, LevelCounts]

    def with_depth(self, codes: Mapping[str, LevelCounts]) -> "EpisodeStatistics":
        """The same with depth, by camera."""
        summaries = self.summaries | {camera: counted.summary() for camera, counted in codes.items()}
        return replace(self, summaries=summaries, levels={**self.levels, **codes})


def read_statistics(metadata: Metadata, *, num_processes: int) -> Iterator[EpisodeStatistics]:
    """Every episode's statistics, in order; images were counted when the clips were made, where that is known.

    Raises:
        RowsError: rows are unreadable, or hold values that are not finite.
        VideoError: a clip that was not counted is missing or corrupt.
    """
    read = partial(_read_episodes, metadata, _open_counts(metadata.root))
    for found in map_in_processes(read, chunks(metadata.episodes(), EPISODES_AT_ONCE), num_processes=num_processes):
        yield from found


def _open_counts(root: Path) -> CameraLevels | None:
    """The counts of a dataset's clips; None where there are none, or others than its manifest lists."""
    path = root / CAMERA_LEVELS
    try:
        written = {file.path: file for file in read_manifest_head(root).files}.get(Path(CAMERA_LEVELS))
    except Unreadable:
        return None
    if written is None or why_foreign(path, root) or not path.is_file():
        return None
    return CameraLevels(root) if FileRecord.of(path, written.path) == written else None


def _read_episodes(
    metadata: Metadata, counted: CameraLevels | None, episodes: Sequence[Episode]
) -> list[EpisodeStatistics]:
    counts = ({} if counted is None else counted.find(episode.index) for episode in episodes)
    return [_read_episode(metadata, known, episode) for known, episode in zip(counts, episodes, strict=True)]


def _read_episode(metadata: Metadata, counted: Mapping[str, Levels], episode: Episode) -> EpisodeStatistics:
    path = metadata.root / metadata.data_path(episode.index)
    columns = [name for name in described_features(metadata) if name not in metadata.cameras]
    table = read_table(path, columns)
    numbers = {name: replace_truth(read_numbers(table, name, where=path)) for name in columns}
    levels = {camera: _find_levels(metadata, counted, episode, camera) for camera in metadata.cameras}
    summaries = {name: summarize_values(values) for name, values in numbers.items()}
    summaries |= {camera: counted.summary() for camera, counted in levels.items()}
    others = {name: values for name, values in numbers.items() if name not in COUNTED}
    return EpisodeStatistics(summaries, others, numbers[TASK_INDEX][:, 0], levels)


def described_features(metadata: Metadata) -> list[str]:
    """Features that have statistics, in the order of info.json: all but texts."""
    return [name for name, feature in metadata.info.features.items() if feature.dtype != TEXT]


def _find_levels(metadata: Metadata, counted: Mapping[str, Levels], episode: Episode, camera: str) -> LevelCounts:
    height, width = metadata.info.features[camera].shape[:2]
    known = counted.get(camera)
    if known is None or not are_of_clip(known, episode.length, width, height):
        return _count_levels(metadata, episode, camera)
    return LevelCounts(known, len(sampled_frames(episode.length)))


def _count_levels(metadata: Metadata, episode: Episode, camera: str) -> LevelCounts:
    histogram = RgbHistogram()
    clip = Clip(metadata.root / metadata.video_path(episode.index, camera), episode.length, metadata.info.fps)
    for frame in decode_frames(clip, np.array(sampled_frames(episode.length))):
        histogram.add(frame)
    return LevelCounts(histogram.counts, histogram.num_frames)


@dataclass
class DatasetTotals:
    """Statistics of all episodes, from those of each; the values themselves lie in a file."""

    metadata: Metadata
    store: ColumnStore
    num_of_task: Counter[int] = field(default_factory=Counter)
    levels: dict[str, LevelCounts] = field(default_factory=dict)

    @classmethod
    def open(cls, metadata: Metadata, scratch: Path) -> "DatasetTotals":
        """Empty; scratch: a folder for a file without a name."""
        return cls(metadata, ColumnStore(tempfile.TemporaryFile(dir=scratch)))

    def add(self, episode: EpisodeStatistics) -> None:
        """Add the next episode."""
        self.store.append(episode.numbers)
        tasks, counts = np.unique(episode.task_index, return_counts=True)
        self.num_of_task.update(dict(zip(tasks.tolist(), counts.tolist(), strict=True)))
        for camera, counted in episode.levels.items():
            self.levels[camera] = self.levels[camera] + counted if camera in self.levels else counted

    def summaries(self) -> dict[str, Summary]:
        """By feature, in the order of info.json."""
        self.store.flush()
        names = dict.fromkeys([*described_features(self.metadata), *self.levels])
        return {name: self._summarize(name) for name in names}

    def _summarize(self, name: str) -> Summary:
        if name in self.levels:
            return self.levels[name].summary()
        if name in COUNTED:
            return stack_columns([self._summarize_numbers(name)])
        columns = (self.store.column(name, number) for number in range(self.store.width(name)))
        return stack_columns([summarize_column(column) for column in columns])

    def _summarize_numbers(self, name: str) -> dict[str, float]:
        """A column of whole numbers, which lengths alone tell but for the tasks'."""
        lengths = self.metadata.lengths
        if name == "index":
            return summarize_range(self.metadata.num_frames)
        if name == "episode_index":
            return summarize_counts(self.metadata.indices, lengths)
        if name == "frame_index":
            longer = len(lengths) - np.bincount(lengths).cumsum()[:-1]
            return summarize_counts(np.arange(len(longer)), longer)
        assert name == TASK_INDEX, f"no other column is counted: {name}"
        tasks = sorted(self.num_of_task)
        return summarize_counts(np.array(tasks), np.array([self.num_of_task[task] for task in tasks]))
