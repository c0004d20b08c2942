"""Read a converted dataset step by step: rows with pyarrow, frames with PyAV.

python examples/convert_one.py out/convert_one
python examples/read_dataset.py out/convert_one
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq

import millrace


@dataclass(frozen=True)
class Step:
    """One step of an episode. state, action: (D,) float32 by joint group; images: (H, W, 3) uint8 RGB by camera."""

    timestamp_seconds: float
    task: str
    state: dict[str, Any]
    action: dict[str, Any]
    images: dict[str, Any]


def read_steps(dataset: Path, episode: int) -> Iterator[Step]:
    """The steps of one episode, in order; one frame of each camera is in memory at a time."""
    info = _json(dataset / "meta/info.json")
    modality = _json(dataset / "meta/modality.json")
    tasks = {task["task_index"]: task["task"] for task in _json_lines(dataset / "meta/tasks.jsonl")}
    place = {"episode_chunk": episode // info["chunks_size"], "episode_index": episode}

    rows = pq.read_table(dataset / info["data_path"].format(**place)).to_pylist()
    videos = {
        camera: _frames(dataset / info["video_path"].format(**place, video_key=entry["original_key"]))
        for camera, entry in modality["video"].items()
    }
    for row in rows:
        yield Step(
            timestamp_seconds=row["timestamp"],
            task=tasks[row["task_index"]],
            state=_groups(row["observation.state"], modality["state"]),
            action=_groups(row["action"], modality["action"]),
            images={camera: next(frames) for camera, frames in videos.items()},
        )


def _groups(values: list[float], groups: dict[str, Any]) -> dict[str, Any]:
    """A vector by joint group; `start` and `end` are half-open."""
    vector = np.array(values, dtype=np.float32)
    return {name: vector[group["start"] : group["end"]] for name, group in groups.items()}


def _frames(video: Path) -> Iterator[Any]:
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main(dataset: Path) -> None:
    """Print the first steps of the first episode."""
    source = millrace.open_source(dataset)
    print(f"{len(source.episodes)} episodes at {source.fps} Hz, cameras: {', '.join(source.cameras)}")
    for number, step in zip(range(3), read_steps(dataset, episode=0), strict=False):
        group, joints = next(iter(step.state.items()))
        shapes = {camera: image.shape for camera, image in step.images.items()}
        print(f"step {number} at {step.timestamp_seconds:.2f} s: {step.task!r} {shapes} {group} {joints.round(3)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/convert_one"))
