"""Tables, feature descriptions and statistics that the layouts share."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from support.barcode import draw
from support.synthetic_spec import SyntheticDataset, expected_action, expected_state, joint_names, stored_names
from support.synthetic_video import encode_picture

_BOOKKEEPING = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64"}
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_NUM_SAMPLED_IMAGES = 4


def episode_arrays(dataset: SyntheticDataset, episode: int) -> dict[str, NDArray[Any]]:
    """Every column of an episode but the cameras, (T, width) or (T,), in LeRobot's order."""
    num_frames = dataset.lengths[episode]
    frames = np.arange(num_frames)
    tasks = dataset.episode_tasks(episode)
    task_indices = np.array([dataset.task_list.index(task) for task in tasks])
    return {
        **vectors(dataset, episode, frames),
        **{key: np.asarray(column.values(episode, frames)) for key, column in dataset.extra_columns.items()},
        "timestamp": (frames / float(dataset.fps)).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(num_frames, episode),
        "index": frames + dataset.first_row(episode),
        "task_index": task_indices[frames * len(tasks) // max(num_frames, 1)],
    }


def all_arrays(dataset: SyntheticDataset) -> dict[str, NDArray[Any]]:
    """These columns of all episodes, one after another."""
    episodes = [episode_arrays(dataset, episode) for episode in range(len(dataset.lengths))]
    return {key: np.concatenate([arrays[key] for arrays in episodes]) for key in episodes[0]}


def vectors(dataset: SyntheticDataset, episode: int, frames: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """State and action, whole or by part, each (T, width)."""
    known = {False: expected_state, True: expected_action}
    used = {False: 0, True: 0}
    columns = {}
    for key, names in vector_names(dataset).items():
        kind, start = key.startswith("action"), used[key.startswith("action")]
        used[kind] = stop = start + len(names)
        columns[key] = known[kind](episode, frames, stop)[:, start:]
    return columns


def vector_names(dataset: SyntheticDataset) -> dict[str, list[str]]:
    """Joint names of each state and action column."""
    if dataset.parts is not None:
        return {key: list(names) for key, names in dataset.parts.items()}
    return {
        "observation.state": joint_names(dataset.state_width),
        "action": joint_names(dataset.action_width or dataset.state_width),
    }


def features(dataset: SyntheticDataset, *, video_info: str = "info") -> dict[str, Any]:
    """`features` of info.json."""
    described = {key: _image_feature(dataset, video_info) for key in dataset.camera_keys.values()}
    for key, names in vector_names(dataset).items():
        described[key] = {"dtype": "float32", "shape": [len(names)], "names": stored_names(names, dataset.names)}
    for key, column in dataset.extra_columns.items():
        described[key] = {"dtype": column.dtype, "shape": list(column.shape), "names": column.names}
    for key, dtype in {**_BOOKKEEPING, "task_index": "int64"}.items():
        described[key] = {"dtype": dtype, "shape": [1], "names": None}
    return described


def _image_feature(dataset: SyntheticDataset, video_info: str) -> dict[str, Any]:
    video = dataset.video
    shape, names = [video.height, video.width, 3], ["height", "width", "channel"]
    if dataset.image_shape == "chw":
        shape, names = [3, video.height, video.width], ["channels", "height", "width"]
    feature: dict[str, Any] = {"dtype": dataset.images_as, "shape": shape, "names": names}
    if dataset.images_as == "image":
        return feature
    return {
        **feature,
        video_info: {
            "video.height": video.height,
            "video.width": video.width,
            "video.codec": video.codec_name,
            "video.pix_fmt": video.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": dataset.fps_number,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def episode_table(dataset: SyntheticDataset, episode: int, *, list_tag: str = "Sequence") -> pa.Table:
    """The rows of one episode with the metadata that Hugging Face datasets reads back."""
    columns = episode_arrays(dataset, episode)
    described = features(dataset)
    arrays = {key: _array(values, described[key], dataset) for key, values in columns.items()}
    if dataset.images_as == "image":
        keys = dataset.camera_keys.values()
        arrays |= {key: _image_array(dataset, episode, camera) for camera, key in enumerate(keys)}
    return with_features(pa.table(arrays), list_tag=list_tag)


def with_features(table: pa.Table, *, list_tag: str = "Sequence") -> pa.Table:
    """Adds Hugging Face's own description of the columns."""
    described = {column.name: _hugging_face_feature(column.type, list_tag) for column in table.schema}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})


def _hugging_face_feature(kind: pa.DataType, list_tag: str) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"_type": "Image" if kind.get_field_index("bytes") >= 0 else "VideoFrame"}
    if pa.types.is_fixed_size_list(kind):
        element = _hugging_face_feature(kind.value_type, list_tag)
        return {"feature": element, "length": kind.list_size, "_type": list_tag}
    if pa.types.is_list(kind):
        return {"feature": _hugging_face_feature(kind.value_type, list_tag), "_type": list_tag}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _array(values: NDArray[Any], feature: Mapping[str, Any], dataset: SyntheticDataset) -> "pa.Array[Any]":
    """One number a row for shape [1], else a list of them."""
    kind = pa.type_for_alias(feature["dtype"])
    if feature["shape"] == [1]:
        return pa.array(values.ravel(), kind)
    length = feature["shape"][0] if dataset.list_type == "fixed" else -1
    rows = list(values.reshape(len(values), -1))
    return pa.array(rows, type=pa.list_(pa.field("element", kind), length))


def _image_array(dataset: SyntheticDataset, episode: int, camera: int) -> "pa.Array[Any]":
    size, kind = (dataset.video.height, dataset.video.width), dataset.picture_format
    pictures = (encode_picture(draw(frame, episode, camera, *size), kind) for frame in range(dataset.lengths[episode]))
    rows = [{"bytes": picture, "path": f"frame_{frame:06d}.{kind}"} for frame, picture in enumerate(pictures)]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def statistics(columns: Mapping[str, NDArray[Any]], *, quantiles: bool = False) -> dict[str, dict[str, list[Any]]]:
    """LeRobot's statistics of every numeric column."""
    return {key: _column_statistics(values, quantiles) for key, values in columns.items() if values.dtype.kind in "fiu"}


def _column_statistics(values: NDArray[Any], quantiles: bool) -> dict[str, list[Any]]:
    rows = values.reshape(len(values), -1)
    wide = rows.astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    found["count"] = np.array([len(rows)])
    if quantiles:
        found |= {name: np.quantile(wide, share, axis=0) for name, share in QUANTILES.items()}
    return {name: value.tolist() for name, value in found.items()}


def image_statistics(dataset: SyntheticDataset, episode: int, *, quantiles: bool = False) -> dict[str, dict[str, Any]]:
    """Per camera, of a few of the drawn frames, as (3, 1, 1) lists of values in [0, 1]."""
    size = (dataset.video.height, dataset.video.width)
    num_sampled = min(_NUM_SAMPLED_IMAGES, dataset.lengths[episode])
    sampled = np.linspace(0, dataset.lengths[episode] - 1, num_sampled).round().astype(int)
    found: dict[str, dict[str, Any]] = {}
    for camera, key in enumerate(dataset.camera_keys.values()):
        pixels = np.stack([draw(int(frame), episode, camera, *size) for frame in sampled])
        by_channel = _column_statistics(pixels.reshape(-1, 3) / 255, quantiles)
        found[key] = {name: [[[value]] for value in values] for name, values in by_channel.items()}
        found[key]["count"] = [num_sampled]
    return found


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4))


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, tables: Iterable[pa.Table]) -> None:
    """One row group a table, as LeRobot does an episode."""
    tables = list(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
