"""LeRobot v2.0 and v2.1: one parquet and one mp4 per camera for each episode."""

from pathlib import Path
from typing import Any

from support.synthetic_rows import (
    all_arrays,
    episode_arrays,
    episode_table,
    features,
    image_statistics,
    statistics,
    write_json,
    write_jsonl,
    write_parquet,
)
from support.synthetic_spec import SyntheticDataset
from support.synthetic_video import write_video

DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_v2(root: Path, dataset: SyntheticDataset) -> None:
    for episode, num_frames in enumerate(dataset.lengths):
        place = {"episode_chunk": episode // dataset.chunks_size, "episode_index": episode}
        write_parquet(root / DATA_PATH.format(**place), [episode_table(dataset, episode)])
        for camera, key in enumerate(dataset.camera_keys.values()):
            if dataset.images_as == "video":
                path = root / VIDEO_PATH.format(**place, video_key=key)
                write_video(
                    path, num_frames=num_frames, fps=dataset.fps, episode=episode, camera=camera, video=dataset.video
                )
    _write_meta(root / "meta", dataset)


def _write_meta(meta: Path, dataset: SyntheticDataset) -> None:
    write_json(meta / "info.json", _info(dataset))
    write_jsonl(meta / "tasks.jsonl", ({"task_index": i, "task": task} for i, task in enumerate(dataset.task_list)))
    write_jsonl(
        meta / "episodes.jsonl",
        (
            {"episode_index": episode, "tasks": dataset.episode_tasks(episode), "length": num_frames}
            for episode, num_frames in enumerate(dataset.lengths)
        ),
    )
    if dataset.version == "v2.0":
        write_json(meta / "stats.json", _whole_statistics(dataset))
    else:
        stats = (_episode_statistics(dataset, episode) for episode in range(len(dataset.lengths)))
        write_jsonl(meta / "episodes_stats.jsonl", stats)


def _info(dataset: SyntheticDataset) -> dict[str, Any]:
    num_episodes = len(dataset.lengths)
    has_videos = dataset.images_as == "video" and len(dataset.cameras) > 0
    return {
        "codebase_version": dataset.version,
        "robot_type": dataset.robot_type,
        "total_episodes": num_episodes,
        "total_frames": sum(dataset.lengths),
        "total_tasks": len(dataset.task_list),
        "total_videos": num_episodes * len(dataset.cameras) if has_videos else 0,
        "total_chunks": -(-num_episodes // dataset.chunks_size),
        "chunks_size": dataset.chunks_size,
        "fps": dataset.fps_number,
        "splits": {"train": f"0:{num_episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if has_videos else None,
        "features": features(dataset, video_info="video_info" if dataset.version == "v2.0" else "info"),
        **dataset.info_overrides,
    }


def _episode_statistics(dataset: SyntheticDataset, episode: int) -> dict[str, Any]:
    stats = image_statistics(dataset, episode) | statistics(episode_arrays(dataset, episode))
    return {"episode_index": episode, "stats": stats}


def _whole_statistics(dataset: SyntheticDataset) -> dict[str, Any]:
    """What v2.0 keeps: the float columns, without counts."""
    columns = {key: values for key, values in all_arrays(dataset).items() if values.dtype.kind == "f"}
    stats = statistics(columns)
    return {key: {name: values[name] for name in ("mean", "std", "min", "max")} for key, values in stats.items()}
