"""Frames beside rows: frames.yaml and folders episode_000000 of rows and PNG or JPEG files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from support.barcode import draw
from support.synthetic_rows import episode_arrays, episode_table, vector_names
from support.synthetic_spec import SyntheticDataset
from support.synthetic_video import encode_picture


def write_frames(root: Path, dataset: SyntheticDataset) -> None:
    """A CSV file has a column for each joint; a parquet file one of lists for each vector."""
    names = vector_names(dataset)
    columns = names if dataset.rows_as == "parquet" else {key: _own_columns(key, names[key]) for key in names}
    suffix = {"png": "png", "jpeg": "jpg"}[dataset.picture_format]
    settings = {
        "fps": dataset.fps_number,
        "robot_type": dataset.robot_type,
        "columns": columns,
        "cameras": list(dataset.cameras),
        "image_path": f"frames/{{camera}}/{{frame:06d}}.{suffix}",
        "tasks": [dataset.episode_tasks(episode)[0] for episode in range(len(dataset.lengths))],
    }
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]  # JSON is YAML
    (root / "frames.yaml").write_text("".join(lines))
    for episode in range(len(dataset.lengths)):
        folder = root / f"episode_{episode:06d}"
        folder.mkdir()
        _write_rows(folder, dataset, episode)
        for camera, name in enumerate(dataset.cameras):
            _write_images(folder / "frames" / name, dataset, episode, camera, suffix)


def _own_columns(vector: str, names: list[str]) -> dict[str, str]:
    """The column of each joint."""
    return {name: f"{vector}/{name}" for name in names}


def _write_rows(folder: Path, dataset: SyntheticDataset, episode: int) -> None:
    if dataset.rows_as == "parquet":
        pq.write_table(episode_table(dataset, episode), folder / "rows.parquet")
        return
    arrays, names = episode_arrays(dataset, episode), vector_names(dataset)
    joints = {
        column: arrays[key][:, place].astype(float)
        for key in names
        for place, column in enumerate(_own_columns(key, names[key]).values())
    }
    pa.csv.write_csv(pa.table({"timestamp": arrays["timestamp"], **joints}), folder / "rows.csv")


def _write_images(folder: Path, dataset: SyntheticDataset, episode: int, camera: int, suffix: str) -> None:
    folder.mkdir(parents=True)
    size = dataset.video.height, dataset.video.width
    for frame in range(dataset.lengths[episode]):
        content = encode_picture(draw(frame, episode, camera, *size), dataset.picture_format)
        (folder / f"{frame:06d}.{suffix}").write_bytes(content)
