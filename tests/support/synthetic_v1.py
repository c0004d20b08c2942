"""The trees without per-episode parquet: LeRobot v1.6 as on the Hub, and the ALOHA guide's hybrid."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from support.synthetic_rows import (
    all_arrays,
    episode_table,
    features,
    statistics,
    with_features,
    write_json,
    write_parquet,
)
from support.synthetic_spec import SyntheticDataset
from support.synthetic_video import write_video

V1_VIDEO_PATH = "videos/{video_key}_episode_{episode_index:06d}.mp4"
HYBRID_VIDEO_PATH = "videos/{video_key}/episode_{episode_index:06d}.mp4"


def write_v1(root: Path, dataset: SyntheticDataset) -> None:
    """data/train-*.parquet, flat videos/, meta_data/{info.json, *.safetensors}."""
    _write_episodes(root, dataset, video_path=V1_VIDEO_PATH)
    write_json(root / "meta_data/info.json", _v1_info(dataset))
    starts = np.array([dataset.first_row(episode) for episode in range(len(dataset.lengths))])
    stops = starts + np.array(dataset.lengths)
    _write_safetensors(root / "meta_data/episode_data_index.safetensors", {"from": starts, "to": stops})
    _write_safetensors(root / "meta_data/stats.safetensors", _flat_statistics(dataset))


def write_hybrid(root: Path, dataset: SyntheticDataset) -> None:
    """data/train-*.parquet, one folder of videos a camera, meta/info.json and nothing else in meta/."""
    _write_episodes(root, dataset, video_path=HYBRID_VIDEO_PATH)
    info = {
        "codebase_version": "v1.6",
        "fps": dataset.fps_number,
        "video": dataset.images_as == "video",
        "robot_type": dataset.robot_type,
        "total_episodes": len(dataset.lengths),
        "total_frames": sum(dataset.lengths),
        "features": features(dataset),
        **dataset.info_overrides,
    }
    write_json(root / "meta/info.json", info)


def _write_episodes(root: Path, dataset: SyntheticDataset, *, video_path: str) -> None:
    _write_rows(root, dataset, video_path=video_path)
    if dataset.images_as == "video":
        _write_videos(root, dataset, video_path=video_path)


def _write_rows(root: Path, dataset: SyntheticDataset, *, video_path: str) -> None:
    tables = [_episode_rows(dataset, episode, video_path=video_path) for episode in range(len(dataset.lengths))]
    table = pa.concat_tables(tables).combine_chunks()
    bounds = np.linspace(0, len(table), dataset.num_shards + 1).astype(int)
    for shard, (start, stop) in enumerate(pairwise(bounds.tolist())):
        path = root / f"data/train-{shard:05d}-of-{dataset.num_shards:05d}.parquet"
        write_parquet(path, [table.slice(start, stop - start)])


def _episode_rows(dataset: SyntheticDataset, episode: int, *, video_path: str) -> pa.Table:
    """v2's columns without the task, and with next.done and, where it has videos, where each camera's frame is."""
    table = episode_table(dataset, episode).drop_columns(["task_index"])
    done = np.arange(len(table)) == len(table) - 1
    for key in dataset.camera_keys.values() if dataset.images_as == "video" else ():
        path = video_path.format(video_key=key, episode_index=episode)
        frames = pa.StructArray.from_arrays(
            [pa.array([path] * len(table), pa.string()), table["timestamp"].combine_chunks()], ["path", "timestamp"]
        )
        table = table.append_column(key, frames)
    return with_features(table.append_column("next.done", pa.array(done)))


def _write_videos(root: Path, dataset: SyntheticDataset, *, video_path: str) -> None:
    for episode, num_frames in enumerate(dataset.lengths):
        for camera, key in enumerate(dataset.camera_keys.values()):
            path = root / video_path.format(video_key=key, episode_index=episode)
            write_video(
                path, num_frames=num_frames, fps=dataset.fps, episode=episode, camera=camera, video=dataset.video
            )


def _v1_info(dataset: SyntheticDataset) -> dict[str, Any]:
    """v1 knew no features, no robot and no joint names, and of pictures in the rows not even how they are coded."""
    video, has_videos = dataset.video, dataset.images_as == "video"
    encoding = {"vcodec": video.codec, "pix_fmt": video.pix_fmt, "g": video.gop, "crf": video.crf}
    return {
        "codebase_version": "v1.6",
        "fps": dataset.fps_number,
        "video": has_videos,
        **({"encoding": encoding} if has_videos else {}),
        **dataset.info_overrides,
    }


def _flat_statistics(dataset: SyntheticDataset) -> dict[str, NDArray[Any]]:
    columns = {key: values for key, values in all_arrays(dataset).items() if key != "task_index"}
    wanted = ("mean", "std", "min", "max")
    return {
        f"{key}/{name}": np.array(values[name], np.float32)
        for key, values in statistics(columns).items()
        for name in wanted
    }


def _write_safetensors(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """Eight bytes of header length, a JSON header, then the raw little-endian numbers."""
    types = {"i": "I64", "f": "F32"}
    header, content = {}, b""
    for name, tensor in tensors.items():
        span = [len(content), len(content) + tensor.nbytes]
        header[name] = {"dtype": types[tensor.dtype.kind], "shape": list(tensor.shape), "data_offsets": span}
        content += tensor.tobytes()
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
