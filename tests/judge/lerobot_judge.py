"""Judge a dataset with LeRobot itself, 0.3.3 for v2.1 and 0.6.1 for v3.0: offline, decoding every frame.

    python lerobot_judge.py DATASET [pyav | torchcodec]

Never writes to DATASET. The exit code is 0 if accepted, else 1.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CACHE = tempfile.TemporaryDirectory(prefix="lerobot_judge_")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=CACHE.name, HF_DATASETS_CACHE=CACHE.name)
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1")

from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata  # noqa: E402  (reads the environment)

Columns = dict[str, NDArray[np.generic]]
# What LeRobot would look for on the Hub if it were missing, by version.
METADATA = {
    "v2.1": ("tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl"),
    "v3.0": ("tasks.parquet", "episodes/chunk-000/file-000.parquet", "stats.json"),
}
MOMENTS = ("min", "max", "mean", "std")
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


class Rejected(Exception):
    """The dataset breaks a promise; the message says where."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Rejected(message)


def load(root: Path, video_backend: str) -> LeRobotDataset:
    """Open `root`, whose files must all exist: LeRobot would look for a missing one on the hub."""
    format_version = json.loads((root / "meta/info.json").read_bytes())["codebase_version"]
    for name in METADATA[format_version]:
        require((root / "meta" / name).is_file(), f"no meta/{name}")
    repo_id = f"judge/{root.name}"
    meta = LeRobotDatasetMetadata(repo_id, root=root)
    for i in range(meta.total_episodes):
        for path in (meta.get_data_file_path(i), *(meta.get_video_file_path(i, key) for key in meta.video_keys)):
            require((root / path).is_file(), f"no {path}")
    return LeRobotDataset(repo_id, root=root, video_backend=video_backend)


def image_shape(shape: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """The (3, H, W) of a decoded frame; info.json may say (H, W, 3) or (3, H, W), as `names` tells."""
    return (shape[2], *shape[:2]) if names[2] in ("channel", "channels") else tuple(shape)


def decode_frames(ds: LeRobotDataset) -> Columns:
    """Decode and check every frame of every camera.

    Returns:
        The numeric columns, each (N, ...) over the dataset's N frames.
    """
    shapes = {key: image_shape(ds.features[key]["shape"], ds.features[key]["names"]) for key in ds.meta.camera_keys}
    numeric = [key for key, f in ds.features.items() if key not in shapes and f["dtype"] not in ("string", "language")]
    rows: dict[str, list[NDArray[np.generic]]] = {key: [] for key in numeric}
    for i in range(len(ds)):
        item = ds[i]
        for key, shape in shapes.items():
            image = item[key]
            require(image.shape == shape, f"frame {i}, {key}: shape {tuple(image.shape)}, info.json says {shape}")
            in_range = image.is_floating_point() and image.min() >= 0 and image.max() <= 1
            require(bool(in_range), f"frame {i}, {key}: not floats in [0, 1]")
        require(isinstance(item["task"], str) and bool(item["task"].strip()), f"frame {i}: empty task")
        for key in numeric:
            rows[key].append(item[key].numpy())
    return {key: np.stack(values) for key, values in rows.items()}


def episode_lengths(ds: LeRobotDataset) -> dict[int, int]:
    """Frames by episode, as its metadata has them: a dict in 0.3.3, a table in 0.6.1."""
    episodes = ds.meta.episodes.values() if isinstance(ds.meta.episodes, dict) else ds.meta.episodes
    return {episode["episode_index"]: episode["length"] for episode in episodes}


def check_episodes(ds: LeRobotDataset, columns: Columns) -> None:
    """Each episode has the frames that its metadata says, and info.json counts them all."""
    lengths = episode_lengths(ds)
    counts = Counter(columns["episode_index"].tolist())
    wrong = [f"episode {i}: {counts[i]} frames, not {n}" for i, n in lengths.items() if counts[i] != n]
    require(not wrong and counts.keys() == lengths.keys(), f"against the metadata: {wrong[:5]}")
    have, want = (len(lengths), len(ds)), (ds.meta.total_episodes, ds.meta.total_frames)
    require(have == want, f"{have} episodes, frames; info.json says {want}")


def check_values(ds: LeRobotDataset, columns: Columns) -> None:
    for prefix in ("observation", "action"):  # by these LeRobot tells a policy's state and action
        require(any(key.startswith(prefix) for key in columns), f"no numeric feature named {prefix}...")
    for key, values in columns.items():
        shape = tuple(ds.features[key]["shape"])
        want = () if shape == (1,) else shape  # LeRobot gives a scalar for a feature of one
        require(values.shape[1:] == want, f"{key}: shape {values.shape[1:]}, info.json says {shape}")
        bad_frames = np.argwhere(~np.isfinite(values))[:, 0]
        require(not len(bad_frames), f"{key}: not finite at frames {bad_frames[:5].tolist()}")


def check_times(ds: LeRobotDataset, columns: Columns) -> None:
    require(np.array_equal(columns["index"], np.arange(len(ds))), "index does not count 0, 1, 2, ...")
    lengths = np.array(list(episode_lengths(ds).values()))
    from_start = columns["index"] - (lengths.cumsum() - lengths)[columns["episode_index"]]
    require(np.array_equal(columns["frame_index"], from_start), "frame_index does not count each episode from 0")
    off_seconds = np.abs(columns["timestamp"] - columns["frame_index"] / ds.fps)
    worst = int(off_seconds.argmax())
    require(bool(off_seconds[worst] < ds.tolerance_s), f"frame {worst}: timestamp {off_seconds[worst]:.3g} s off")


def check_stats(ds: LeRobotDataset, columns: Columns) -> None:
    """The statistics that LeRobot has are those of the columns; a camera's lie in [0, 1]."""
    for key in (*ds.meta.camera_keys, *columns):
        require(key in ds.meta.stats, f"no statistics of {key}")
    for key in ds.meta.camera_keys:
        stats = np.stack([ds.meta.stats[key][name] for name in MOMENTS])
        in_range = stats.shape[1:] == (3, 1, 1) and bool(((stats >= 0) & (stats <= 1)).all())
        require(in_range, f"{key}: statistics not (3, 1, 1) in [0, 1]")
    for key, column in columns.items():
        values = column.reshape(len(ds), -1).astype(np.float64)
        due = {name: getattr(values, name)(axis=0) for name in MOMENTS}
        due |= {name: np.quantile(values, share, axis=0) for name, share in QUANTILES.items()}
        for name in ds.meta.stats[key].keys() & due.keys():
            want, have = due[name], ds.meta.stats[key][name]
            require(np.allclose(have, want, rtol=1e-4, atol=1e-4), f"{key}: {name} {have}, the frames give {want}")


def main(root: Path, video_backend: str = "pyav") -> int:
    try:
        ds = load(root, video_backend)
        print(f"PASS LeRobot {version('lerobot')} loads the dataset", flush=True)
        columns = decode_frames(ds)
        print(f"PASS every frame decodes ({video_backend}): image shapes, floats in [0, 1], task", flush=True)
        checks: list[Callable[[LeRobotDataset, Columns], None]] = [
            check_episodes,
            check_values,
            check_times,
            check_stats,
        ]
        for check in checks:
            check(ds, columns)
            print(f"PASS {check.__name__}", flush=True)
    except Exception as error:  # whatever LeRobot raises is its verdict
        print(f"REJECTED {root.name}: {type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    print(f"ACCEPTED {root.name}: {ds.num_episodes} episodes, {len(ds)} frames decoded")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), *sys.argv[2:3]))
