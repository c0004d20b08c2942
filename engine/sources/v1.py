"""LeRobot v1.x as on the Hub, and the ALOHA guide's hybrid tree: shared parquet, one mp4 an episode and camera.

Neither says where its episodes begin, so the column episode_index is read; neither names tasks.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from millrace.engine.errors import DatasetError
from millrace.engine.sources.containment import check_own_path, check_own_paths
from millrace.engine.sources.dataset import Feature, SourceDataset, camera_name
from millrace.engine.sources.episode import Camera, Clip, RowRange, SourceEpisode
from millrace.engine.sources.files import LOCAL, SourceFiles
from millrace.engine.sources.lerobot_metadata import Info, Totals, read_source_json
from millrace.engine.sources.listing import EpisodeList
from millrace.engine.sources.parquet import (
    episode_ranges,
    list_parquet_files,
    parquet_damage,
    read_first_row,
    read_schema,
)
from millrace.engine.sources.row_images import ImageColumn

VIDEO_PATHS = (
    "videos/{video_key}_episode_{episode_index:06d}.mp4",  # v1.x
    "videos/{video_key}/episode_{episode_index:06d}.mp4",  # the guide's tree
)
ROWS = "data/*.parquet"
INFO_PATHS = ("meta_data/info.json", "meta/info.json")


def fits(root: Path) -> bool:
    """Whether the files of these layouts are there."""
    return any((root / path).is_file() for path in INFO_PATHS) and bool(list_parquet_files(root, ROWS))


def open_v1(root: Path, files: SourceFiles = LOCAL) -> SourceDataset:
    """Read info.json and, as it does not say where episodes begin, the column episode_index of every file.

    Where it describes no features either, the first file's footer and the first row of its columns of lists tell
    them. No other row and no video is read.

    Raises:
        DatasetError: a file is missing or malformed; the message names it.
    """
    is_hub = (root / INFO_PATHS[0]).is_file()
    bounds = files.bounds(root)
    info_path = check_own_path(root / next(path for path in INFO_PATHS if (root / path).is_file()), bounds)
    info = read_source_json(info_path, Info)
    parquets = check_own_paths(list_parquet_files(root, ROWS), bounds)
    features = info.known_features
    ranges, broken = _ranges(parquets, bounds)
    features = features or _features(next(path for path in parquets if path not in broken))
    listed: EpisodeList[tuple[RowRange, ...]] = EpisodeList()
    for index, parts in ranges.items():
        listed.add(index, tuple(parts), place=str(parts[0]))
    for path, error in broken.items():
        listed.add_lost_file(str(error), parquet_damage(path, error))
    video_path = _video_path(root, features, ranges, files)
    return SourceDataset(
        root=root,
        layout=f"LeRobot {info.codebase_version or 'v1'}" if is_hub else "the ALOHA guide's tree",
        fps=info.fps,
        robot_type=info.robot_type,
        features=features,
        tasks={},
        episodes=[_episode(root, info, features, video_path, index, tuple(ranges[index])) for index in sorted(ranges)],
        files=files,
        bad=listed.bad_episodes(read_source_json(info_path, Totals).total_episodes),
    )


def _ranges(paths: Sequence[Path], root: Path) -> tuple[dict[int, list[RowRange]], dict[Path, DatasetError]]:
    """The rows of each episode, and the files that cannot be read.

    Raises:
        DatasetError: none can.
    """
    ranges: dict[int, list[RowRange]] = {}
    broken: dict[Path, DatasetError] = {}
    for path in paths:
        try:
            found = list(episode_ranges(path, root))
        except DatasetError as error:
            broken[path] = error
            continue
        for index, rows in found:
            ranges.setdefault(index, []).append(rows)
    if len(broken) == len(paths):
        raise next(iter(broken.values()))
    return ranges, broken


def _episode(
    root: Path, info: Info, features: dict[str, Feature], video_path: str, index: int, rows: tuple[RowRange, ...]
) -> SourceEpisode:
    num_frames = sum(part.num_rows for part in rows)
    clips: dict[str, Camera] = {}
    for key, feature in features.items():
        if feature.is_camera and feature.dtype == "video":
            path = root / video_path.format(video_key=key, episode_index=index)
            clips[camera_name(key)] = Clip(path, num_frames, info.fps, root=rows[0].root)
        elif feature.is_camera:
            clips[camera_name(key)] = ImageColumn(rows, key, num_frames)
    return SourceEpisode(index, num_frames, rows, clips, tasks=())


def _video_path(root: Path, features: dict[str, Feature], ranges: dict[int, list[RowRange]], files: SourceFiles) -> str:
    """The template that fits the first video found; all of a dataset's are named alike."""
    for key in (key for key, feature in features.items() if feature.is_camera and feature.dtype == "video"):
        for index in ranges:
            for template in VIDEO_PATHS:
                if files.size(root / template.format(video_key=key, episode_index=index)) is not None:
                    return template
    return VIDEO_PATHS[-1]


def _features(path: Path) -> dict[str, Feature]:
    """Before info.json described features, only the parquet's types and first row did."""
    schema = read_schema(path)
    first = read_first_row(path, [field.name for field in schema if _is_list(field.type)])
    return {field.name: _feature(field.type, first.get(field.name)) for field in schema}


def _is_list(kind: pa.DataType) -> bool:
    """Whether only a row tells how many values a row has."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _feature(kind: pa.DataType, first: object) -> Feature:
    if pa.types.is_struct(kind):
        fields = {kind.field(number).name for number in range(kind.num_fields)}
        return Feature("image" if "bytes" in fields else "video", (), None)
    if pa.types.is_fixed_size_list(kind):
        return Feature(_dtype(kind.value_type), (kind.list_size,), None)
    if _is_list(kind):
        return Feature(_dtype(kind.value_type), (len(first) if isinstance(first, list) else 0,), None)
    return Feature(_dtype(kind), (1,), None)


def _dtype(kind: pa.DataType) -> str:
    """A type as info.json names it."""
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
