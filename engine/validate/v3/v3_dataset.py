"""What meta/ of a LeRobot v3.0 dataset says, in arrays: no row of meta/episodes is kept as Python's values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StrictStr

from millrace.engine.dataset.metadata import GrootFeature, InfoFile
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.v3_checks import V3_CHECKS

TASKS_TABLE = "meta/tasks.parquet"
# What LeRobot writes into every dataset; it normalises none of them.
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")

Ints = NDArray[np.int64]


class V3Feature(GrootFeature):
    """A feature of info.json. info: of a camera, what its videos are like."""

    info: Any = None
    video_info: Any = None

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera, its images in videos or in rows."""
        return self.dtype in ("video", "image")

    @property
    def is_numeric(self) -> bool:
        """Whether it is a column with statistics; texts have none."""
        return not self.is_camera and self.dtype not in ("string", "language")

    @property
    def is_vector(self) -> bool:
        """Whether its statistics have a number for each value; of more dimensions LeRobot keeps the last alone."""
        return self.is_numeric and len(self.shape) <= 1

    @property
    def video_facts(self) -> Mapping[str, Any]:
        """What is said of a camera's videos, such as "video.codec"."""
        parts = [part for part in (self.video_info, self.info) if isinstance(part, dict)]
        return {name: value for part in parts for name, value in part.items()}


class V3Info(InfoFile):
    """meta/info.json; defaults are LeRobot's, which it takes where a field is missing."""

    features: dict[str, V3Feature]  # type: ignore[assignment]
    data_path: StrictStr = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path: StrictStr | None = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    chunks_size: Annotated[int, Field(strict=True, ge=1, le=2**53)] = 1000

    @property
    def video_keys(self) -> tuple[str, ...]:
        """Features of the cameras that have videos."""
        return tuple(name for name, feature in self.features.items() if feature.is_video)

    @property
    def columns(self) -> dict[str, V3Feature]:
        """The features that are columns of numbers or texts."""
        return {name: feature for name, feature in self.features.items() if not feature.is_camera}


@dataclass(frozen=True, eq=False)
class FilePlaces:
    """Which file each episode lies in: chunk_index and file_index, (N,) each."""

    chunk: Ints
    file: Ints


@dataclass(frozen=True, eq=False)
class ClipPlaces:
    """Where each episode's clip of a camera lies; start, stop: seconds in its file, (N,) float64."""

    places: FilePlaces
    start: NDArray[np.float64]
    stop: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EpisodeTable:
    """meta/episodes, N episodes in the order of its rows.

    numbers, lengths, first_row, end_row: (N,). tasks: their texts. data: where rows lie. clips: by camera.
    files: the files of meta/episodes with their rows, in LeRobot's order.
    """

    numbers: Ints
    lengths: Ints
    first_row: Ints
    end_row: Ints
    tasks: tuple[tuple[str, ...], ...]
    data: FilePlaces
    clips: Mapping[str, ClipPlaces]
    files: tuple[tuple[Path, int], ...]

    @property
    def num_episodes(self) -> int:
        """Rows of meta/episodes."""
        return len(self.numbers)

    @property
    def num_frames(self) -> int:
        """Sum of the lengths."""
        return int(self.lengths.sum())


@dataclass(frozen=True, eq=False)
class V3Metadata:
    """The metadata of a dataset. tasks: texts by index, None where they cannot be read."""

    root: Path
    info: V3Info
    table: EpisodeTable
    tasks: Mapping[int, str] | None

    def data_path(self, chunk: int, file: int) -> Path:
        """A data file's path, relative to the dataset; the template has been checked."""
        return Path(self.info.data_path.format(chunk_index=chunk, file_index=file))

    def video_path(self, camera: str, chunk: int, file: int) -> Path:
        """An mp4's path, likewise."""
        assert self.info.video_path is not None, "without a template no video is judged"
        return Path(self.info.video_path.format(video_key=camera, chunk_index=chunk, file_index=file))


def make_v3_problem(
    code: str, path: str | Path | None, message: str, *, episode: int | None = None, camera: str | None = None
) -> Problem:
    """A check of V3_CHECKS that failed; see `Problem.of`."""
    return replace(Problem.of(code, path, message, V3_CHECKS), episode=episode, camera=camera)
