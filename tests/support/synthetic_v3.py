"""LeRobot v3.0: many episodes in one parquet and one mp4, and where each lies in meta/episodes/*.parquet."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa

from support.barcode import NO_EPISODE, Stamp
from support.synthetic_rows import (
    all_arrays,
    episode_arrays,
    episode_table,
    features,
    image_statistics,
    statistics,
    write_json,
    write_parquet,
)
from support.synthetic_spec import SyntheticDataset, groups
from support.synthetic_video import encode

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


def write_v3(root: Path, dataset: SyntheticDataset) -> None:
    num_episodes = len(dataset.lengths)
    rows: list[dict[str, Any]] = [_episode_row(dataset, episode) for episode in range(num_episodes)]
    _write_data(root, dataset, rows)
    if dataset.images_as == "video":
        for camera, name in enumerate(dataset.cameras):
            _write_camera(root, dataset, rows, camera=camera, name=name)
    for episode in range(num_episodes):
        rows[episode] |= _flat_statistics(dataset, episode)
    for number, episodes in enumerate(groups(num_episodes, dataset.episodes_per_meta_file)):
        place = _place(number, dataset)
        table = pa.Table.from_pylist([rows[i] | {f"meta/episodes/{k}": v for k, v in place.items()} for i in episodes])
        write_parquet(root / EPISODES_PATH.format(**place), [table])
    write_parquet(root / "meta/tasks.parquet", [_tasks_table(dataset.task_list)])
    # LeRobot's training stops at a camera without statistics.
    images = image_statistics(dataset, 0, quantiles=True)
    write_json(root / "meta/stats.json", images | statistics(all_arrays(dataset), quantiles=True))
    write_json(root / "meta/info.json", _info(dataset))


def _episode_row(dataset: SyntheticDataset, episode: int) -> dict[str, Any]:
    start, length = dataset.first_row(episode), dataset.lengths[episode]
    return {
        "episode_index": episode,
        "tasks": dataset.episode_tasks(episode),
        "length": length,
        "dataset_from_index": start,
        "dataset_to_index": start + length,
    }


def _write_data(root: Path, dataset: SyntheticDataset, rows: list[dict[str, Any]]) -> None:
    if dataset.rows_per_data_file is not None:
        return _write_cut_data(root, dataset, rows, num_rows=dataset.rows_per_data_file)
    for number, episodes in enumerate(groups(len(dataset.lengths), dataset.episodes_per_data_file)):
        place = _place(number, dataset)
        path = root / DATA_PATH.format(**place)
        write_parquet(path, [episode_table(dataset, episode, list_tag="List") for episode in episodes])
        for episode in episodes:
            rows[episode] |= {f"data/{name}": index for name, index in place.items()}


def _write_cut_data(root: Path, dataset: SyntheticDataset, rows: list[dict[str, Any]], *, num_rows: int) -> None:
    """Files of `num_rows` rows, wherever episodes begin; an episode is said to lie where its first row does."""
    tables = [episode_table(dataset, episode, list_tag="List") for episode in range(len(dataset.lengths))]
    table = pa.concat_tables(tables).combine_chunks()
    for number, start in enumerate(range(0, len(table), num_rows)):
        write_parquet(root / DATA_PATH.format(**_place(number, dataset)), [table.slice(start, num_rows)])
    for episode, row in enumerate(rows):
        place = _place(dataset.first_row(episode) // num_rows, dataset)
        row |= {f"data/{name}": index for name, index in place.items()}


def _write_camera(root: Path, dataset: SyntheticDataset, rows: list[dict[str, Any]], *, camera: int, name: str) -> None:
    """One continuous stream per file: an episode begins wherever the last ended, key frame or not."""
    size, key = dataset.episodes_per_video_file, dataset.camera_keys[name]
    size = size.get(name) if isinstance(size, Mapping) else size
    num_lead = dataset.video_lead_frames.get(name, 0)
    for number, episodes in enumerate(groups(len(dataset.lengths), size)):
        place = _place(number, dataset)
        stamps = [Stamp(frame, NO_EPISODE, camera) for frame in range(num_lead)]
        for episode in episodes:
            start, stop = len(stamps), len(stamps) + dataset.lengths[episode]
            times = {"from_timestamp": start / Fraction(dataset.fps), "to_timestamp": stop / Fraction(dataset.fps)}
            rows[episode] |= {f"videos/{key}/{column}": index for column, index in place.items()}
            rows[episode] |= {f"videos/{key}/{column}": float(seconds) for column, seconds in times.items()}
            stamps += [Stamp(frame, episode, camera) for frame in range(dataset.lengths[episode])]
        encode(root / VIDEO_PATH.format(video_key=key, **place), stamps, fps=dataset.fps, video=dataset.video)


def _place(number: int, dataset: SyntheticDataset) -> dict[str, int]:
    return dict(zip(("chunk_index", "file_index"), divmod(number, dataset.chunks_size), strict=True))


def _flat_statistics(dataset: SyntheticDataset, episode: int) -> dict[str, Any]:
    stats = image_statistics(dataset, episode, quantiles=True)
    stats |= statistics(episode_arrays(dataset, episode), quantiles=True)
    return {f"stats/{key}/{name}": value for key, values in stats.items() for name, value in values.items()}


def _tasks_table(tasks: list[str]) -> pa.Table:
    """As pandas writes a frame whose index is the task and has no name."""
    integers = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    strings = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [{"name": None, "field_name": None, **strings, "metadata": {"encoding": "UTF-8"}}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **integers},
            {"name": None, "field_name": "__index_level_0__", **strings},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    indices = pa.array(range(len(tasks)), pa.int64())
    table = pa.table({"task_index": indices, "__index_level_0__": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _info(dataset: SyntheticDataset) -> dict[str, Any]:
    return {
        "codebase_version": "v3.0",
        "robot_type": dataset.robot_type,
        "total_episodes": len(dataset.lengths),
        "total_frames": sum(dataset.lengths),
        "total_tasks": len(dataset.task_list),
        "chunks_size": dataset.chunks_size,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": dataset.fps_number,
        "splits": {"train": f"0:{len(dataset.lengths)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if dataset.images_as == "video" and dataset.cameras else None,
        "features": features(dataset),
        **dataset.info_overrides,
    }
