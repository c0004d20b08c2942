"""The metadata of a dataset to validate: strict models of its files, and what they say together."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StrictStr, field_validator

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.fps import parse_fps
from millrace.engine.layout import ACTION, STATE, camera_key
from millrace.engine.sources.lerobot_metadata import flatten_names

INFO, EPISODES, TASKS = "meta/info.json", "meta/episodes.jsonl", "meta/tasks.jsonl"
SUBTASKS = "meta/subtasks.jsonl"
MODALITY, STATS = "meta/modality.json", "meta/stats.json"
RELATIVE_STATS, EPISODES_STATS = "meta/relative_stats.json", "meta/episodes_stats.jsonl"
DEFAULT_COLUMNS = {"state": STATE, "action": ACTION}

Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]


class GrootFeature(FrozenModel):
    """A feature of info.json."""

    dtype: StrictStr
    shape: tuple[Annotated[int, Field(strict=True, ge=1, le=2**53)], ...] = ()
    names: tuple[str, ...] | None = None

    @field_validator("shape", mode="before")
    @classmethod
    def _none_is_empty(cls, shape: object) -> object:
        return () if shape is None else shape

    @field_validator("names", mode="before")
    @classmethod
    def _flat(cls, names: object) -> object:
        return flatten_names(names)

    @property
    def is_float(self) -> bool:
        """Whether GR00T makes statistics of it (gr00t/data/stats.py: "float" in dtype)."""
        return "float" in self.dtype

    @property
    def is_video(self) -> bool:
        """Whether it is a camera with mp4 files."""
        return self.dtype == "video"

    @property
    def is_column(self) -> bool:
        """Whether it is a column of numbers or texts; images within parquet are not read."""
        return self.dtype not in ("video", "image")

    @property
    def width(self) -> int:
        """Values in a row."""
        return math.prod(self.shape)

    def value_name(self, index: int) -> str | None:
        """The joint at an index, where info.json names as many joints as there are values."""
        return self.names[index] if self.names is not None and len(self.names) == self.width else None


class InfoFile(FrozenModel):
    """meta/info.json."""

    fps: Fraction
    features: dict[str, GrootFeature]
    data_path: StrictStr
    video_path: StrictStr | None = None
    chunks_size: Annotated[int, Field(strict=True, ge=1, le=2**53)]
    codebase_version: StrictStr | None = None
    robot_type: object = None
    total_episodes: Count | None = None
    total_frames: Count | None = None
    total_tasks: Count | None = None
    total_videos: Count | None = None
    total_chunks: Count | None = None

    @field_validator("fps", mode="before")
    @classmethod
    def _exact(cls, fps: object) -> Fraction:
        if isinstance(fps, str):
            raise ValueError(f"a frame rate is a number, not {fps!r}")
        return parse_fps(fps)


class GrootEpisodeLine(FrozenModel):
    """A line of meta/episodes.jsonl."""

    episode_index: Count
    length: Annotated[int, Field(strict=True, ge=1, le=2**31)]
    tasks: tuple[StrictStr, ...] = ()


class GrootTaskLine(FrozenModel):
    """A line of meta/tasks.jsonl."""

    task_index: Count
    task: StrictStr


class JointSlice(FrozenModel):
    """A joint group in modality.json, half-open; whether it fits its column is not checked here."""

    start: Annotated[int, Field(strict=True)]
    end: Annotated[int, Field(strict=True)]
    original_key: StrictStr | None = None

    @property
    def width(self) -> int:
        """Values of the group."""
        return self.end - self.start

    def column(self, modality: str) -> str:
        """The column that the slice is of."""
        return self.original_key or DEFAULT_COLUMNS[modality]


class Named(FrozenModel):
    """A camera or an annotation in modality.json."""

    original_key: StrictStr | None = None


class ModalityFile(FrozenModel):
    """meta/modality.json."""

    state: dict[str, JointSlice] = Field(default_factory=dict)
    action: dict[str, JointSlice] = Field(default_factory=dict)
    video: dict[str, Named] = Field(default_factory=dict)
    annotation: dict[str, Named] = Field(default_factory=dict)

    @property
    def groups(self) -> Mapping[str, Mapping[str, JointSlice]]:
        """Joint groups by modality."""
        return {"state": self.state, "action": self.action}

    @property
    def cameras(self) -> Mapping[str, str]:
        """Feature by camera."""
        return {name: entry.original_key or camera_key(name) for name, entry in self.video.items()}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Column by annotation."""
        return {name: entry.original_key or f"annotation.{name}" for name, entry in self.annotation.items()}


@dataclass(frozen=True)
class Episode:
    """One episode of episodes.jsonl; first_row: rows of those before it. tasks: their texts."""

    index: int
    length: int
    first_row: int
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Metadata:
    """The metadata of a dataset; None for a file that could not be read.

    indices, lengths: (num_episodes,), of the episodes in the order of episodes.jsonl. episode_tasks: what that lists
    for each, texts of tasks.jsonl.
    """

    root: Path
    info: InfoFile
    indices: NDArray[np.int64]
    lengths: NDArray[np.int64]
    tasks: Mapping[int, str] | None
    modality: ModalityFile | None
    config: GrootConfig | None
    episode_tasks: tuple[tuple[str, ...], ...] = ()

    @property
    def num_episodes(self) -> int:
        """Lines of episodes.jsonl."""
        return len(self.indices)

    @property
    def num_frames(self) -> int:
        """Sum of the lengths."""
        return int(self.lengths.sum())

    @cached_property
    def is_numbered(self) -> bool:
        """Whether episodes count 0, 1, 2, ..."""
        return bool(np.array_equal(self.indices, np.arange(self.num_episodes)))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Features of the cameras to judge: those of modality.json, or all where it is missing."""
        videos = tuple(name for name, feature in self.info.features.items() if feature.is_video)
        if self.modality is None:
            return videos
        return tuple(name for name in dict.fromkeys(self.modality.cameras.values()) if name in videos)

    def episodes(self) -> Iterator[Episode]:
        """Every episode, in the order of episodes.jsonl."""
        starts = self.lengths.cumsum() - self.lengths
        tasks = self.episode_tasks or ((),) * self.num_episodes
        for index, length, start, listed in zip(self.indices, self.lengths, starts, tasks, strict=True):
            yield Episode(int(index), int(length), int(start), listed)

    def data_path(self, index: int) -> Path:
        """An episode's parquet, relative to the dataset; the template has been checked."""
        return Path(self.info.data_path.format(**self._place(index)))

    def video_path(self, index: int, camera: str) -> Path:
        """An episode's mp4 of a camera's feature, likewise."""
        assert self.info.video_path is not None, "without a template no camera is judged"
        return Path(self.info.video_path.format(video_key=camera, **self._place(index)))

    def _place(self, index: int) -> dict[str, int]:
        return {"episode_chunk": index // self.info.chunks_size, "episode_index": index}
