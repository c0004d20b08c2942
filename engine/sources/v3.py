"""LeRobot v3.0: many episodes in each parquet file and in each mp4; meta/episodes/ says where.

Of each episode's place in data/ only its length is believed: LeRobot's converter up to 0.4.4 names the
wrong file for the first episode of each new one, and indices may be missing or local to the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DatasetError
from engine.sources.dataset import SourceDataset, camera_name
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode
from engine.sources.metadata import Info, inside, read_json
from engine.sources.parquet import SharedRows, count_rows, numbered, read_columns

VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def fits(root: Path) -> bool:
    """Whether the files of this layout are there."""
    return (root / "meta/info.json").is_file() and any(root.glob("meta/episodes/*/*.parquet"))


def open_v3(root: Path) -> SourceDataset:
    """Read meta/ and the footers of data/.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    info = read_json(root / "meta/info.json", Info)
    lines = sorted(_episode_lines(root, info), key=lambda line: line.index)
    rows = SharedRows(count_rows(numbered(root.glob("data/*/*.parquet"))))
    episodes = []
    start = 0
    for line in lines:
        episodes.append(_episode(root, info, line, rows.slice(start, start + line.length)))
        start += line.length
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v3'}",
        fps=info.fps,
        robot_type=info.robot_type,
        features={name: feature.to_feature() for name, feature in info.features.items()},
        tasks=_tasks(root / "meta/tasks.parquet"),
        episodes=episodes,
    )


@dataclass(frozen=True)
class _EpisodeLine:
    """A row of meta/episodes; places: by camera key, (chunk_index, file_index, from_timestamp)."""

    index: int
    length: int
    tasks: tuple[str, ...]
    places: Mapping[str, tuple[int, int, float]]


def _episode_lines(root: Path, info: Info) -> Iterator[_EpisodeLine]:
    cameras = [key for key, feature in info.features.items() if feature.dtype == "video"]
    fields = {
        key: [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")] for key in cameras
    }
    needed = ["episode_index", "length", *(name for names in fields.values() for name in names)]
    seen: set[int] = set()
    for path in numbered(root.glob("meta/episodes/*/*.parquet")):
        columns = read_columns(path, needed, optional=["tasks"])
        for number, index in enumerate(columns["episode_index"]):
            row = {name: values[number] for name, values in columns.items()}
            _check_row(row, needed, path)
            if index in seen:
                raise DatasetError(f"{path} lists episode {index} twice")
            seen.add(index)
            places = {key: (row[chunk], row[file], row[start]) for key, (chunk, file, start) in fields.items()}
            yield _EpisodeLine(index, row["length"], tuple(row.get("tasks") or ()), places)


def _check_row(row: Mapping[str, Any], needed: Sequence[str], path: Path) -> None:
    for name in needed:
        wanted = (int, float) if name.endswith("from_timestamp") else int
        if not isinstance(row[name], wanted):
            raise DatasetError(f"{path}: column '{name}' holds {row[name]!r} for episode {row['episode_index']!r}")


def _episode(root: Path, info: Info, line: _EpisodeLine, rows: tuple[RowRange, ...]) -> SourceEpisode:
    clips: dict[str, Clip | ImageColumn] = {
        camera_name(key): Clip(_video(root, info, key, chunk, file), line.length, info.fps, float(start))
        for key, (chunk, file, start) in line.places.items()
    }
    for key, feature in info.features.items():
        if feature.dtype == "image":
            clips[camera_name(key)] = ImageColumn(rows, key, line.length)
    return SourceEpisode(line.index, line.length, rows, clips, line.tasks, search=root / "data")


def _video(root: Path, info: Info, key: str, chunk: int, file: int) -> Path:
    return inside(
        root,
        info.video_path or VIDEO_PATH,
        f"{root}/meta/info.json",
        video_key=key,
        chunk_index=chunk,
        file_index=file,
    )


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
