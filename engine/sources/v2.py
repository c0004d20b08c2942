"""LeRobot v2.0 and v2.1: one parquet file, and one mp4 a camera, for each episode."""

from pathlib import Path

from engine.errors import DatasetError
from engine.layout import DATA_PATH, VIDEO_PATH
from engine.sources.containment import own
from engine.sources.dataset import SourceDataset, camera_name
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode
from engine.sources.files import LOCAL, SourceFiles
from engine.sources.metadata import EpisodeLine, Info, TaskLine, inside, read_json, read_jsonl


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and (root / "meta/episodes.jsonl").is_file()


def open_v2(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read meta/ only.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    info = read_json(own(root / "meta/info.json", root), Info)
    tasks_path = own(root / "meta/tasks.jsonl", root)
    tasks = {line.task_index: line.task for line in read_jsonl(tasks_path, TaskLine)} if tasks_path.is_file() else {}
    episodes: dict[int, SourceEpisode] = {}
    for line in read_jsonl(own(root / "meta/episodes.jsonl", root), EpisodeLine):
        if line.episode_index in episodes:
            raise DatasetError(f"{root}/meta/episodes.jsonl lists episode {line.episode_index} twice")
        episodes[line.episode_index] = _episode(root, info, line)
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v2'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features={name: feature.to_feature() for name, feature in info.features.items()},
        tasks=tasks,
        episodes=[episodes[index] for index in sorted(episodes)],
        files=files,
    )


def _episode(root: Path, info: Info, line: EpisodeLine) -> SourceEpisode:
    where = f"{root}/meta/info.json"
    fields = {
        "episode_index": line.episode_index,
        "episode_chunk": line.episode_index // info.chunks_size,
    }
    rows = (RowRange(inside(root, info.data_path or DATA_PATH, where, **fields), root=root),)
    clips: dict[str, Clip | ImageColumn] = {}
    for key, feature in info.features.items():
        if feature.dtype == "video":
            path = inside(root, info.video_path or VIDEO_PATH, where, video_key=key, **fields)
            clips[camera_name(key)] = Clip(path, line.length, info.fps, root=root)
        elif feature.dtype == "image":
            clips[camera_name(key)] = ImageColumn(rows, key, line.length)
    return SourceEpisode(line.episode_index, line.length, rows, clips, line.tasks)
