"""LeRobot v2.0 and v2.1: one parquet file, and one mp4 a camera, for each episode."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.engine.errors import DatasetError, RowsError
from millrace.engine.layout import DATA_PATH, VIDEO_PATH
from millrace.engine.sources.containment import check_own_path
from millrace.engine.sources.dataset import SourceDataset, camera_name
from millrace.engine.sources.episode import NO_DEPTH, Camera, Clip, RowRange, SourceEpisode
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.json_text import parse_json, validate_as
from millrace.engine.sources.lerobot_metadata import (
    EpisodeLine,
    Info,
    fill_template,
    read_source_json,
    read_source_lines,
)
from millrace.engine.sources.listing import EpisodeList, check_length, read_number
from millrace.engine.sources.row_images import ImageColumn
from millrace.engine.sources.task_list import read_subtasks, read_task_lines


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and (root / "meta/episodes.jsonl").is_file()


def open_v2(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read meta/ only.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    bounds = files.bounds(root)
    info = read_source_json(check_own_path(root / "meta/info.json", bounds), Info)
    tasks = read_task_lines(check_own_path(root / "meta/tasks.jsonl", bounds))
    listed: EpisodeList[SourceEpisode] = EpisodeList()
    lengths: dict[int, int] = {}  # each once in memory
    for place, line in _sound_lines(check_own_path(root / "meta/episodes.jsonl", bounds), listed):
        length = lengths.setdefault(line.length, line.length)
        listed.add(line.episode_index, _episode(root, info, line, length, files), place=place)
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v2'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.known_features,
        tasks=tasks.texts,
        episodes=[episode for _, episode in listed.valid_lines()],
        files=files,
        bad=listed.bad_episodes(),
        task_problems=tuple(tasks.problems),
        subtasks=read_subtasks(root, bounds),
        tools=info.known_tools,
    )


def _sound_lines(path: Path, listed: EpisodeList[SourceEpisode]) -> Iterator[tuple[str, EpisodeLine]]:
    """The lines that describe an episode, and where they stand; the list takes in what is wrong with the others."""
    for place, text in read_source_lines(path):
        index = None
        try:
            values = parse_json(text, place)
            index = read_number(values)
            line = validate_as(values, EpisodeLine, place)
            check_length(line.length, where=place)
        except (DatasetError, RowsError) as error:
            listed.reject(index, error.about(file=path))
        else:
            yield place, line


def _episode(root: Path, info: Info, line: EpisodeLine, length: int, files: SourceFiles) -> SourceEpisode:
    bounds, place = files.bounds(root), _place(line.episode_index, info.chunks_size)
    rows = (RowRange(_path(root, info, info.data_path or DATA_PATH, place, files), root=bounds),)
    clips: dict[str, Camera] = {}
    for key, feature in info.cameras.items():
        if feature.dtype == "video":
            path = _path(root, info, info.video_path or VIDEO_PATH, {**place, "video_key": key}, files)
            clips[camera_name(key)] = Clip(path, length, info.fps, root=bounds)
        else:
            clips[camera_name(key)] = ImageColumn(rows, key, length)
    depth = {}
    for key in info.depth_videos:
        path = _path(root, info, info.video_path or VIDEO_PATH, {**place, "video_key": key}, files)
        depth[camera_name(key)] = Clip(path, length, info.fps, root=bounds)
    return SourceEpisode(line.episode_index, length, rows, clips, line.tasks, depth=depth or NO_DEPTH)


def _place(index: int, chunks_size: int) -> dict[str, int | str]:
    """The fields of an episode's path templates; exporters name them in their own ways."""
    chunk = index // chunks_size
    return {
        "episode_index": index,
        "episode_id": index,
        "file_index": index,
        "file": index,
        "episode_chunk": chunk,
        "chunk_index": chunk,
        "chunk": chunk,
    }


def _path(root: Path, info: Info, template: str, place: Mapping[str, int | str], files: SourceFiles) -> Path:
    """A file of an episode."""
    where = f"{root}/meta/info.json"
    path = fill_template(root, template, where, place)
    number = int(place["episode_index"]) % info.chunks_size  # some count again from 0 in each folder
    if "{file" not in template or number == place["file_index"] or files.size(path) is not None:
        return path
    return fill_template(root, template, where, {**place, "file_index": number, "file": number})
