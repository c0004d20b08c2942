"""LeRobot v3.0: many episodes in each parquet file and in each mp4; meta/episodes/ says where.

Of each episode's place in data/ only its length is believed: LeRobot's converter up to 0.4.4 names the
wrong file for the first episode of each new one, and indices may be missing or local to the file.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import DatasetError
from engine.sources.containment import all_own, own
from engine.sources.dataset import SourceDataset, camera_name
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode
from engine.sources.files import LOCAL, SourceFiles
from engine.sources.metadata import Info, Text, check, inside, read_json
from engine.sources.parquet import SharedRows, numbered, read_columns

# Thirty years: no file is longer, and libav counts ticks in 64 bits.
MAX_SECONDS = 1e9
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and any(root.glob("meta/episodes/*/*.parquet"))


def open_v3(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read meta/ and the footers of data/.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    info = read_json(own(root / "meta/info.json", root), Info)
    listed = sorted(_episode_rows(root, info), key=lambda row: row.episode_index)
    rows = SharedRows(files.count_rows(root, "data/*/*.parquet"), root)
    episodes = []
    start = 0
    for row in listed:
        episodes.append(_episode(root, info, row, rows.slice(start, start + row.length)))
        start += row.length
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v3'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features={name: feature.to_feature() for name, feature in info.features.items()},
        tasks=_tasks(own(root / "meta/tasks.parquet", root)),
        episodes=episodes,
        files=files,
    )


class _Place(BaseModel):
    """Where one camera's clip of an episode begins."""

    model_config = ConfigDict(frozen=True, strict=True)

    chunk_index: int = Field(ge=0)
    file_index: int = Field(ge=0)
    from_timestamp: float = Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)


class _EpisodeRow(BaseModel):
    """A row of meta/episodes; places by camera key."""

    model_config = ConfigDict(frozen=True)

    episode_index: int = Field(ge=0)
    length: int
    tasks: tuple[Text, ...] = ()
    places: dict[str, _Place]


def _episode_rows(root: Path, info: Info) -> Iterator[_EpisodeRow]:
    cameras = [key for key, feature in info.features.items() if feature.dtype == "video"]
    columns = {key: {name: f"videos/{key}/{name}" for name in _Place.model_fields} for key in cameras}
    needed = ["episode_index", "length", *(column for names in columns.values() for column in names.values())]
    own_names = set(_EpisodeRow.model_fields) - {"places"}
    seen: set[int] = set()
    for path in all_own(numbered(root.glob("meta/episodes/*/*.parquet")), root):
        values = read_columns(path, needed, optional=["tasks"])
        for number in range(len(values["episode_index"])):
            places = {
                key: {name: values[column][number] for name, column in names.items()} for key, names in columns.items()
            }
            own: dict[str, Any] = {name: values[name][number] for name in own_names if name in values}
            own |= {"tasks": own.get("tasks") or (), "places": places}
            row = check(own, _EpisodeRow, f"{path}, row {number}")
            if row.episode_index in seen:
                raise DatasetError(f"{path} lists episode {row.episode_index} twice")
            seen.add(row.episode_index)
            yield row


def _episode(root: Path, info: Info, row: _EpisodeRow, rows: tuple[RowRange, ...]) -> SourceEpisode:
    template = info.video_path or VIDEO_PATH
    clips: dict[str, Clip | ImageColumn] = {}
    for key, place in row.places.items():
        path = _video(root, template, key, place.chunk_index, place.file_index)
        clips[camera_name(key)] = Clip(path, row.length, info.fps, place.from_timestamp, root)
    for key, feature in info.features.items():
        if feature.dtype == "image":
            clips[camera_name(key)] = ImageColumn(rows, key, row.length)
    return SourceEpisode(row.episode_index, row.length, rows, clips, row.tasks, search=root / "data")


# Hundreds of episodes share a file, and then its path in memory as well.
@lru_cache(maxsize=64)
def _video(root: Path, template: str, key: str, chunk_index: int, file_index: int) -> Path:
    where = f"{root}/meta/info.json"
    return inside(root, template, where, video_key=key, chunk_index=chunk_index, file_index=file_index)


def _tasks(path: Path) -> dict[int, str]:
    """Text by index; the text is the index of the pandas frame that was written, named or not."""
    if not path.is_file():
        return {}
    columns = read_columns(path, ["task_index"], optional=["task", "__index_level_0__"])
    texts = columns.get("task") or columns.get("__index_level_0__")
    is_sound = all(isinstance(index, int) for index in columns["task_index"])
    if texts is None or not is_sound or not all(isinstance(text, str) for text in texts):
        raise DatasetError(f"{path} names no tasks: expected text in column 'task' or in its index")
    return dict(zip(columns["task_index"], texts, strict=True))
