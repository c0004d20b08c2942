"""LeRobot v2.0 and v2.1: one parquet file, and one mp4 a camera, for each episode."""

from pathlib import Path

from engine.errors import DatasetError
from engine.layout import DATA_PATH, VIDEO_PATH
from engine.sources.containment import own
from engine.sources.dataset import SourceDataset, camera_name
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode
from engine.sources.files import LOCAL, SourceFiles
from engine.sources.listing import EpisodeList, number_of, why_no_length
from engine.sources.metadata import (
    EpisodeLine,
    Info,
    check,
    inside,
    parse_json,
    read_json,
    read_lines,
)
from engine.sources.task_list import read_task_lines


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and (root / "meta/episodes.jsonl").is_file()


def open_v2(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read meta/ only.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    bounds = files.bounds(root)
    info = read_json(own(root / "meta/info.json", bounds), Info)
    tasks = read_task_lines(own(root / "meta/tasks.jsonl", bounds))
    listed = _list_episodes(own(root / "meta/episodes.jsonl", bounds))
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v2'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.known_features,
        tasks=tasks.texts,
        episodes=[_episode(root, info, line, files) for _, line in listed.sound()],
        files=files,
        bad=listed.bad(),
        task_problems=tuple(tasks.problems),
    )


def _list_episodes(path: Path) -> EpisodeList[EpisodeLine]:
    listed: EpisodeList[EpisodeLine] = EpisodeList()
    for place, text in read_lines(path):
        index = None
        try:
            values = parse_json(text, place)
            index = number_of(values)
            line = check(values, EpisodeLine, place)
        except DatasetError as error:
            listed.reject(index, str(error))
            continue
        if reason := why_no_length(line.length):
            listed.reject(line.episode_index, f"{place}: {reason}")
        else:
            listed.add(line.episode_index, line, place=place)
    return listed


def _episode(root: Path, info: Info, line: EpisodeLine, files: SourceFiles) -> SourceEpisode:
    index, bounds = line.episode_index, files.bounds(root)
    rows = (RowRange(_path(root, info, info.data_path or DATA_PATH, index, files), root=bounds),)
    clips: dict[str, Clip | ImageColumn] = {}
    for key, feature in info.known_features.items():
        if feature.is_camera and feature.dtype == "video":
            path = _path(root, info, info.video_path or VIDEO_PATH, index, files, video_key=key)
            clips[camera_name(key)] = Clip(path, line.length, info.fps, root=bounds)
        elif feature.is_camera:
            clips[camera_name(key)] = ImageColumn(rows, key, line.length)
    return SourceEpisode(index, line.length, rows, clips, line.tasks)


def _path(root: Path, info: Info, template: str, index: int, files: SourceFiles, **fields: int | str) -> Path:
    """A file of an episode; exporters name the fields of path templates in their own ways."""
    where = f"{root}/meta/info.json"
    chunk, place = divmod(index, info.chunks_size)
    fields |= dict.fromkeys(("episode_index", "episode_id", "file_index", "file"), index)
    fields |= dict.fromkeys(("episode_chunk", "chunk_index", "chunk"), chunk)
    path = inside(root, template, where, **fields)
    if "{file" in template and place != index and files.size(path) is None:  # some count anew in each folder
        return inside(root, template, where, **{**fields, "file_index": place, "file": place})
    return path
