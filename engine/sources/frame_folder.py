"""PNG or JPEG frames beside rows: frames.yaml, rows.parquet or rows.csv, and frames/CAMERA/000000.png.

Several episodes are folders episode_000000, episode_000001, ... of such rows and frames beside one frames.yaml.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from millrace.embodiments import MillraceError
from millrace.embodiments.yaml_file import FileModel, Name, YamlFile, parse_yaml, read_yaml
from millrace.engine.errors import DatasetError, FaultCode, FrameCountMismatch, RowsError, VideoError
from millrace.engine.fps import parse_fps
from millrace.engine.layout import CAMERA_PREFIX
from millrace.engine.sources.containment import check_own_path
from millrace.engine.sources.dataset import Feature, SourceDataset
from millrace.engine.sources.episode import (
    MAX_FRAMES,
    BadEpisode,
    RowRange,
    SourceEpisode,
    SourceFault,
    StoredImage,
)
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.image_paths import read_image
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS, Text
from millrace.engine.sources.listing import check_length
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.sources.table_rows import VectorRows
from millrace.engine.sources.templates import template_problem

SETTINGS = "frames.yaml"
ROWS = ("rows.parquet", "rows.csv")
EPISODE = re.compile(r"episode_(\d{1,18})")

Names = Annotated[tuple[Text, ...], Field(min_length=1)]
Columns = Annotated[dict[Text, Text], Field(min_length=1)]


class FrameSettings(FileModel):
    """frames.yaml.

    columns: joint names of each vector, where the rows hold it as one column of lists; or else the column of each
    joint. image_path: below an episode's folder. first_frame: number of the first image. tasks: one text, or one for
    each episode in order.
    """

    fps: Fraction
    columns: dict[Text, Names | Columns]
    cameras: tuple[Name, ...] = Field(default=(), max_length=MAX_CAMERAS)
    image_path: Text = "frames/{camera}/{frame:06d}.png"
    first_frame: int = Field(default=0, ge=0, le=MAX_FRAMES)
    robot_type: Text | None = None
    tasks: Text | tuple[Text, ...] = ()

    @field_validator("fps", mode="before")
    @classmethod
    def _exact(cls, fps: object) -> Fraction:
        return parse_fps(fps)

    @model_validator(mode="after")
    def _names_each_image(self) -> "FrameSettings":
        needed = ("camera", "frame") if len(self.cameras) > 1 else ("frame",)
        if reason := template_problem(self.image_path, ("camera", "frame"), needed):
            raise ValueError(f"image_path {self.image_path!r} {reason}")
        if self.image_path.startswith("/") or ".." in self.image_path.split("/"):
            raise ValueError(f"image_path {self.image_path!r} leads out of the episode's folder")
        return self

    @property
    def features(self) -> dict[str, Feature]:
        """Every vector and camera."""
        vectors = {key: Feature("float64", (len(names),), tuple(names)) for key, names in self.columns.items()}
        return vectors | {f"{CAMERA_PREFIX}{camera}": Feature("image", (), None) for camera in self.cameras}

    @property
    def rows(self) -> VectorRows:
        """What opens a file of rows."""
        split = {key: tuple(names.values()) for key, names in self.columns.items() if isinstance(names, Mapping)}
        return VectorRows(tuple(split.items()))


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """One camera's images of one episode, a file each.

    path: the episode's folder. template: of the files below it. root: the dataset that they must lie in.
    """

    path: Path
    template: str
    camera: str
    first_frame: int
    num_frames: int
    root: Path
    max_spare: int = 0

    @property
    def num_stored(self) -> None:
        """None."""
        return None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every image's file."""
        return tuple(map(self._image, range(self.num_frames)))

    @property
    def video(self) -> None:
        """None."""
        return None

    def with_rows(self, rows: tuple[RowRange, ...]) -> "ImageFolder":
        """The same: they do not lie in rows."""
        return self

    def trim(self, num_frames: int, *, max_spare: int) -> "ImageFolder":
        """The first images, of which `max_spare` more may follow."""
        return replace(self, num_frames=num_frames, max_spare=max_spare)

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        """Yield the images at `indices` (increasing, in [0, num_frames)), in order.

        Raises:
            VideoError: an image is missing or cannot be read.
            FrameCountMismatch: an image follows the last.
        """
        for path in self.paths:  # those between the wanted ones, too: nothing else would tell that frames were lost
            if not os.path.lexists(path):
                raise VideoError(f"{path} is missing", code=FaultCode.MISSING, file=path)
        for path in map(self._image, indices.tolist()):
            yield StoredImage(read_image(path, self.root, str(path)), str(path))
        following = self._image(self.num_frames + self.max_spare)
        if os.path.lexists(following):
            message = f"{self.num_frames} rows, but there is an image {following}"
            raise FrameCountMismatch(message, file=following, expected=self.num_frames)

    def _image(self, index: int) -> Path:
        return self.path / self.template.format(camera=self.camera, frame=self.first_frame + index)


def fits(root: Path) -> bool:
    """Whether the file of this layout is there."""
    return (root / SETTINGS).is_file()


def open_frame_folder(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read frames.yaml and count the rows of each episode; no image is read.

    Raises:
        DatasetError: frames.yaml is malformed; the message names its line.
    """
    bounds = files.bounds(root)
    file = read_yaml(check_own_path(root / SETTINGS, bounds), error=DatasetError)
    settings = parse_yaml(FrameSettings, file, file.content)
    folders = dict(sorted(_episode_folders(root)))
    tasks = _tasks(settings, file, len(folders))
    episodes, bad = [], []
    for number, (index, folder) in enumerate(folders.items()):
        try:
            episodes.append(_episode(settings, index, folder, bounds, tasks[number]))
        except RowsError as error:
            bad.append(BadEpisode(index, SourceFault(error.code, error.message, facts=error.facts)))
    return SourceDataset(
        root=root,
        layout="frames beside rows",
        fps=settings.fps,
        robot_type=settings.robot_type,
        features=settings.features,
        tasks=dict(enumerate(dict.fromkeys(text for texts in tasks for text in texts))),
        episodes=episodes,
        files=files,
        bad=tuple(bad),
    )


def _episode_folders(root: Path) -> Iterator[tuple[int, Path]]:
    """Number and folder of each episode: the dataset's own folder where rows lie in it."""
    if any((root / name).is_file() for name in ROWS):
        yield 0, root
        return
    seen: dict[int, Path] = {}
    for path in sorted(root.iterdir()):
        if (found := EPISODE.fullmatch(path.name)) and path.is_dir():
            if (index := int(found[1])) in seen:
                raise DatasetError(f"{seen[index]} and {path} are both episode {index}", episode=index, file=path)
            seen[index] = path
            yield index, path


def _tasks(settings: FrameSettings, file: YamlFile, num_episodes: int) -> list[tuple[str, ...]]:
    """The tasks of each episode, in order."""
    texts = settings.tasks
    if isinstance(texts, str):
        return [(texts,)] * num_episodes
    if texts and len(texts) != num_episodes:
        problem = f"{len(texts)} tasks for {num_episodes} episodes, expected one for each or one"
        raise file.error_at(("tasks",), MillraceError(problem, got=len(texts), expected=num_episodes))
    return [(text,) for text in texts] or [()] * num_episodes


def _episode(settings: FrameSettings, index: int, folder: Path, bounds: Path, tasks: tuple[str, ...]) -> SourceEpisode:
    path = next((folder / name for name in ROWS if (folder / name).is_file()), folder / ROWS[0])
    rows = RowRange(path, root=bounds, open=settings.rows)
    num_frames = RowReader().count_rows(rows)
    check_length(num_frames, where=path)
    place = settings.image_path, settings.first_frame
    clips = {camera: ImageFolder(folder, place[0], camera, place[1], num_frames, bounds) for camera in settings.cameras}
    return SourceEpisode(index, num_frames, (rows,), clips, tasks)
