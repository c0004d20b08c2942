"""Episodes as a policy sees them: observations at a step, and the recorded actions that follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import MillraceError, UnknownName
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.train.shards import FrameReader, ReadFrames, read_step_columns, step_rows
from millrace.train.training_dataset import TrainingDataError, TrainingDataset

TASK = "task"  # GR00T's key for the tasks of episodes.jsonl


@dataclass(frozen=True, eq=False)
class Observations:
    """The observations of N steps.

    images: by camera, (N, num_deltas, H, W, 3) uint8 RGB. states: by joint group, (N, num_deltas, D).
    """

    images: Mapping[str, NDArray[np.uint8]]
    states: Mapping[str, NDArray[np.float32]]
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Recording:
    """The rows of one episode: states and actions by joint group, (num_rows, D), and its text row by row."""

    episode: int
    num_rows: int
    states: Mapping[str, NDArray[np.float32]]
    actions: Mapping[str, NDArray[np.float32]]
    texts: tuple[str, ...]


class EpisodeReader:
    """Reads a dataset as a modality config asks for it.

    Args:
        dataset: Where the episodes lie.
        config: Of the policy.
        reference: Frames as the policy was trained on them; see FrameReader.

    Raises:
        UnknownName: the dataset lacks a camera, a joint group or an annotation.
        TrainingDataError: the policy's language is none that a dataset can give.
    """

    def __init__(self, dataset: TrainingDataset, config: GrootConfig, reference: ReadFrames) -> None:
        check_agreement(dataset, config)
        self.dataset, self.config = dataset, config
        self._frames = FrameReader(reference)

    def read(self, episode: int) -> Recording:
        """Read all rows of an episode, without frames.

        Raises:
            TrainingDataError: rows are missing or damaged.
        """
        names = [self.dataset.joint_slice(part, group).column(part) for part, group in _groups(self.config)]
        if self._language != TASK:
            names.append(self.dataset.annotation_column(self._language))
        try:
            columns = read_step_columns(self.dataset.rows_path(episode), names)
        except MillraceError as error:
            raise TrainingDataError(f"{self.dataset.root}, episode {episode}: {error}") from error
        num_rows = self.dataset.lengths[episode]
        if any(len(column) != num_rows for column in columns.values()):
            found = len(next(iter(columns.values())))
            raise TrainingDataError(
                f"{self.dataset.root}, episode {episode}: {found} rows, but episodes.jsonl says {num_rows}"
            )
        groups = {(part, group): self._values(columns, part, group) for part, group in _groups(self.config)}
        return Recording(
            episode,
            num_rows,
            states={group: values for (part, group), values in groups.items() if part == "state"},
            actions={group: values for (part, group), values in groups.items() if part == "action"},
            texts=self._texts(columns, episode),
        )

    def observe(self, recording: Recording, steps: NDArray[np.int64]) -> Observations:
        """The observations at some steps; before the first row, the first is repeated.

        Raises:
            TrainingDataError: a video is missing or damaged; names episode and camera.
        """
        rows = {part: self._rows(part, steps, recording.num_rows) for part in ("video", "state")}
        return Observations(
            images={camera: self._images(recording, camera, rows["video"]) for camera in self.config.keys("video")},
            states={group: values[rows["state"]] for group, values in recording.states.items()},
            texts=tuple(recording.texts[step] for step in steps.tolist()),
        )

    @property
    def _language(self) -> str:
        key, *_ = self.config.keys("language")  # a policy acts by the first; N1.7 trains some robots on several
        return key

    @cached_property
    def _tasks(self) -> Mapping[int, str]:
        """The first task of each episode; GR00T trains on one drawn by chance."""
        return {episode.index: episode.tasks[0] for episode in self.dataset.metadata.episodes() if episode.tasks}

    def _rows(self, part: str, steps: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
        return step_rows(steps, self.config.modalities[part].delta_indices, num_rows=num_rows, pad=True)

    def _images(self, recording: Recording, camera: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        try:
            path = self.dataset.video_path(recording.episode, camera)
            frames = self._frames.read(path, np.unique(rows), num_frames=recording.num_rows)
        except MillraceError as error:
            where = f"{self.dataset.root}, episode {recording.episode}, camera {camera}"
            raise TrainingDataError(f"{where}: {error}") from error
        return np.stack([[frames[row] for row in places] for places in rows.tolist()])

    def _values(self, columns: Mapping[str, NDArray[np.generic]], part: str, group: str) -> NDArray[np.float32]:
        where = self.dataset.joint_slice(part, group)
        column = columns[where.column(part)]
        values = column[:, None] if column.ndim == 1 else column[:, where.start : where.end]
        return values.astype(np.float32)

    def _texts(self, columns: Mapping[str, NDArray[np.generic]], episode: int) -> tuple[str, ...]:
        if self._language != TASK:
            column = columns[self.dataset.annotation_column(self._language)]
            return tuple(self.dataset.task(index) for index in column.tolist())
        if episode not in self._tasks:
            raise TrainingDataError(f"{self.dataset.root}, episode {episode}: episodes.jsonl lists no task")
        return (self._tasks[episode],) * self.dataset.lengths[episode]


def check_agreement(dataset: TrainingDataset, config: GrootConfig) -> None:
    """Check that a dataset has all that a modality config asks for.

    Raises:
        UnknownName, TrainingDataError: see EpisodeReader.
    """
    for part in ("video", "state", "action"):
        _check_keys(dataset, part, config.keys(part))
    keys = config.keys("language")
    if not keys or not (keys[0] == TASK or keys[0].startswith("annotation.")):
        told = ", ".join(keys) or "none"
        raise TrainingDataError(f"the policy's language is {told}; evaluated are {TASK!r} and annotations of rows")
    if keys[0] != TASK:
        dataset.annotation_column(keys[0])


def _check_keys(dataset: TrainingDataset, part: str, keys: tuple[str, ...]) -> None:
    """Check that a dataset has a config's keys of a part by name: GR00T may take others by their position."""
    episode = next(iter(dataset.lengths))
    try:
        for key in keys:
            if part == "video":
                dataset.video_path(episode, key)
            else:
                dataset.joint_slice(part, key)
    except UnknownName as error:
        raise UnknownName(f"the policy's {part} keys are {', '.join(keys)}: ", error) from error


def joint_names(dataset: TrainingDataset, group: str) -> tuple[str, ...]:
    """Names of the values of an action group; numbers where info.json does not name them."""
    where = dataset.joint_slice("action", group)
    feature = dataset.metadata.info.features.get(where.column("action"))
    named = [feature.value_name(index) if feature else None for index in range(where.start, where.end)]
    return tuple(name or f"{group} {number}" for number, name in enumerate(named))


def _groups(config: GrootConfig) -> list[tuple[str, str]]:
    return [(part, group) for part in ("state", "action") for group in config.keys(part)]
