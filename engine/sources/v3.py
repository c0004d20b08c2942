"""LeRobot v3.0: many episodes in each parquet file and in each mp4; meta/episodes/ says where.

Of each episode's place in data/ only its length is believed: LeRobot's converter up to 0.4.4 names the
wrong file for the first episode of each new one, and indices may be missing or local to the file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from millrace.embodiments import Facts, FrozenModel
from millrace.engine.errors import DatasetError, FaultCode, RowsError
from millrace.engine.sources.containment import check_own_path, check_own_paths
from millrace.engine.sources.dataset import SourceDataset, camera_name
from millrace.engine.sources.episode import Camera, Clip, RowRange, SourceEpisode, SourceFault
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.json_text import validate_as
from millrace.engine.sources.lerobot_metadata import (
    Index,
    Info,
    Tasks,
    Totals,
    fill_template,
    read_source_json,
    unwrap_single,
)
from millrace.engine.sources.listing import EpisodeList, check_length, read_number
from millrace.engine.sources.parquet import SharedRows, list_parquet_files, parquet_damage, read_columns
from millrace.engine.sources.places import check_places
from millrace.engine.sources.row_images import ImageColumn
from millrace.engine.sources.task_list import read_subtasks, read_task_table

# Thirty years: no file is longer, and libav counts ticks in 64 bits.
MAX_SECONDS = 1e9
# LeRobot writes chunk folders; others one file below meta/episodes/, or in its place.
EPISODES = ("meta/episodes/*/*.parquet", "meta/episodes/*.parquet", "meta/episodes.parquet")
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and bool(_episode_files(root))


def _episode_files(root: Path) -> list[Path]:
    """The files that list the episodes, of the first layout that is there; another may be a copy of it."""
    return next((paths for pattern in EPISODES if (paths := list_parquet_files(root, pattern))), [])


def open_v3(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read meta/ and the footers of data/.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    bounds = files.bounds(root)
    info = read_source_json(check_own_path(root / "meta/info.json", bounds), Info)
    tasks = read_task_table(check_own_path(root / "meta/tasks.parquet", bounds))
    listed = _list_episodes(root, info, bounds)
    lines = listed.valid_lines()
    num_listed = sum(row.length for _, row in lines)
    rows = SharedRows(files.count_rows(root, "data/*/*.parquet"), bounds, num_listed=num_listed)
    episodes = []
    start = 0
    for index, row in lines:
        episodes.append(_episode(root, info, index, row, rows, start))
        start += row.length
    dataset = SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v3'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.known_features,
        tasks=tasks.texts,
        episodes=episodes,
        files=files,
        task_problems=tuple(tasks.problems),
        subtasks=read_subtasks(root, bounds),
        tools=info.known_tools,
        bad=listed.bad_episodes(read_source_json(root / "meta/info.json", Totals).total_episodes),
    )
    return check_places(dataset)


class _Place(BaseModel):
    """Where one camera's clip of an episode begins, and where it ends if that is said."""

    model_config = ConfigDict(frozen=True, strict=True)

    chunk_index: int = Field(ge=0)
    file_index: int = Field(ge=0)
    from_timestamp: float = Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)
    to_timestamp: float | None = Field(default=None, ge=0, le=MAX_SECONDS, allow_inf_nan=False)


class _Values(FrozenModel):
    """A row of meta/episodes without the places of clips."""

    episode_index: Index
    length: int
    tasks: Tasks = ()


@dataclass(frozen=True, slots=True)
class _EpisodeRow:
    """What a row of meta/episodes tells; faults: why a camera has no clip."""

    length: int
    tasks: tuple[str, ...]
    clips: Mapping[str, Clip]
    faults: tuple[SourceFault, ...]


def _list_episodes(root: Path, info: Info, bounds: Path) -> EpisodeList[_EpisodeRow]:
    """The rows of all files of meta/episodes.

    Raises:
        DatasetError: none of the files can be read.
    """
    listed: EpisodeList[_EpisodeRow] = EpisodeList()
    cameras = [key for key, feature in info.cameras.items() if feature.dtype == "video"] + list(info.depth_videos)
    columns = {key: {name: f"videos/{key}/{name}" for name in _Place.model_fields} for key in cameras}
    wanted = ["tasks", *(column for names in columns.values() for column in names.values())]
    clip_of = partial(_clip, root, info, bounds)
    paths = check_own_paths(_episode_files(root), bounds)
    for path in paths:
        try:
            values = read_columns(path, ["episode_index", "length"], optional=wanted)
        except DatasetError as error:
            if path == paths[-1] and listed.is_empty:
                raise
            listed.add_lost_file(str(error), parquet_damage(path, error))
            continue
        for number, row in enumerate(_rows(values)):
            _take(listed, row, columns, clip_of=clip_of, where=f"{path}, row {number}")
    return listed


def _rows(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Columns as rows; what pandas wrote as a list of one value is that value."""
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, map(unwrap_single, values), strict=True))


def _take(
    listed: EpisodeList[_EpisodeRow],
    values: dict[str, Any],
    columns: Mapping[str, Mapping[str, str]],
    *,
    clip_of: Callable[[str, int, _Place], Clip],
    where: str,
) -> None:
    """One row of meta/episodes; a camera without a place is a fault of that camera alone."""
    places: dict[str, _Place] = {}
    faults: list[SourceFault] = []
    for key, names in columns.items():
        try:
            places[key] = validate_as({name: values.get(column) for name, column in names.items()}, _Place, where)
        except DatasetError as error:
            reason = str(error).replace(f"{where}: ", f"{where}: videos/{key}/", 1)
            faults.append(SourceFault(FaultCode.METADATA, reason, camera_name(key), error.facts))
    try:
        row = validate_as(values, _Values, where)
        check_length(row.length, where=where)
    except (DatasetError, RowsError) as error:
        listed.reject(read_number(values), error)
        return
    clips = {camera_name(key): clip_of(key, row.length, place) for key, place in places.items()}
    listed.add(row.episode_index, _EpisodeRow(row.length, row.tasks, clips, tuple(faults)), place=where)


def _clip(root: Path, info: Info, bounds: Path, key: str, num_frames: int, place: _Place) -> Clip:
    path = _video(root, info.video_path or VIDEO_PATH, key, place.chunk_index, place.file_index)
    return Clip(path, num_frames, info.fps, place.from_timestamp, place.to_timestamp, root=bounds)


def _episode(root: Path, info: Info, index: int, row: _EpisodeRow, shared: SharedRows, start: int) -> SourceEpisode:
    rows, broken = shared.slice(start, start + row.length), shared.broken
    depth = {name: row.clips[name] for name in map(camera_name, info.depth_videos) if name in row.clips}
    clips: dict[str, Camera] = {name: clip for name, clip in row.clips.items() if name not in depth}
    for key, feature in info.cameras.items():
        if feature.dtype == "image":
            clips[camera_name(key)] = ImageColumn(rows, key, row.length)
    data = root / "data"
    faults = (*row.faults, *_row_faults(rows, broken))
    return SourceEpisode(index, row.length, rows, clips, row.tasks, search=data, faults=faults, depth=depth)


def _row_faults(rows: tuple[RowRange, ...], broken: Mapping[Path, DatasetError]) -> Iterator[SourceFault]:
    """Files that cannot be read in which an episode's rows should lie."""
    for path in (part.path for part in rows if part.path in broken) if broken else ():
        yield SourceFault(parquet_damage(path, broken[path]), broken[path].message, facts=Facts(file=path))


# Hundreds of episodes share a file, and then its path in memory as well.
@lru_cache(maxsize=64)
def _video(root: Path, template: str, key: str, chunk_index: int, file_index: int) -> Path:
    where = f"{root}/meta/info.json"
    places = {"chunk_index": chunk_index, "chunk": chunk_index, "file_index": file_index, "file": file_index}
    return fill_template(root, template, where, {**places, "video_key": key})
