"""Judge a dataset with LeRobot itself, 0.3.3 for v2.1 and 0.6.1 for v3.0: offline, decoding every frame twice.

    python lerobot_judge.py DATASET [V21]

V21: the same dataset in v2.1; what LeRobot reads from DATASET is then compared with the files of that.
Never writes to DATASET. The exit code is 0 if accepted, else 1.
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE = tempfile.TemporaryDirectory(prefix="lerobot_judge_")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=CACHE.name, HF_DATASETS_CACHE=CACHE.name)
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", TORCH_HOME=CACHE.name)

# They read the environment.
from compared_frames import FrameComparison  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata  # noqa: E402
from recomputed_statistics import SampledFrames, compare_camera, compare_columns, compute  # noqa: E402
from stored_dataset import V21, V30, StoredDataset  # noqa: E402

Columns = dict[str, NDArray[Any]]
BACKENDS = ("torchcodec", "pyav")
# What LeRobot would look for on the Hub if it were missing, by version.
METADATA = {
    V21: ("tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl"),
    V30: ("tasks.parquet", "episodes/chunk-000/file-000.parquet", "stats.json"),
}


class Rejected(Exception):
    """The dataset breaks a promise; the message says where."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Rejected(message)


def load(stored: StoredDataset, video_backend: str) -> LeRobotDataset:
    """Open a dataset, whose files must all exist: LeRobot would look for a missing one on the hub."""
    root = stored.root
    for name in METADATA[stored.version]:
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


def plain_columns(ds: LeRobotDataset) -> list[str]:
    """Features of numbers or texts: neither cameras nor lists of what is said."""
    return [key for key, one in ds.features.items() if key not in ds.meta.camera_keys and one["dtype"] != "language"]


def color_keys(ds: LeRobotDataset) -> list[str]:
    """The cameras but those of depth, which v2.1 lacks and whose values are distances; 0.3.3 knows none."""
    depth = getattr(ds.meta, "depth_keys", ())
    return [key for key in ds.meta.camera_keys if key not in depth]


def decode_frames(ds: LeRobotDataset, files: StoredDataset, sampled: list[SampledFrames]) -> Columns:
    """Decode every frame of every camera and compare it with what the files hold.

    Args:
        ds: The dataset.
        files: Of which it must hold the frames.
        sampled: Take the frames that LeRobot's statistics count, by episode; may be empty.

    Returns:
        The columns of numbers and texts, each (N, ...) over the dataset's N frames.
    """
    shapes = {key: image_shape(ds.features[key]["shape"], ds.features[key]["names"]) for key in color_keys(ds)}
    comparisons = {key: FrameComparison(files.frames(key)) for key in shapes}
    rows: dict[str, list[Any]] = {key: [] for key in (*plain_columns(ds), "task")}
    for i in range(len(ds)):
        item = ds[i]
        for key, shape in shapes.items():
            image = item[key].numpy()
            require(image.shape == shape, f"frame {i}, {key}: shape {image.shape}, info.json says {shape}")
            in_range = np.issubdtype(image.dtype, np.floating) and image.min() >= 0 and image.max() <= 1
            require(bool(in_range), f"frame {i}, {key}: not floats in [0, 1]")
            try:
                comparisons[key].compare(image)
            except Exception as error:
                raise Rejected(f"frame {i}, {key}: {error}") from error
            if sampled:
                sampled[int(item["episode_index"])].add(int(item["frame_index"]), key, image)
        for key, values in rows.items():
            values.append(item[key].numpy() if hasattr(item[key], "numpy") else item[key])
    for comparison in comparisons.values():
        comparison.finish()
    worst = max((comparison.largest for comparison in comparisons.values()), default=0.0)
    print(f"     frames differ from those of the files by {worst:.2f} levels of 255 at most, on average of a frame")
    return {key: np.stack(values) for key, values in rows.items()}


def episode_lengths(ds: LeRobotDataset) -> dict[int, int]:
    """Frames by episode, as its metadata has them: a dict in 0.3.3, a table in 0.6.1."""
    episodes = ds.meta.episodes.values() if isinstance(ds.meta.episodes, dict) else ds.meta.episodes
    return {episode["episode_index"]: episode["length"] for episode in episodes}


def check_rows(ds: LeRobotDataset, columns: Columns, files: StoredDataset) -> None:
    """Every value that LeRobot gives is that of the files, and so are the instructions."""
    names, stored = set(columns) - {"task"}, set(files.rows.column_names) & set(plain_columns(ds))
    require(names == stored, f"columns {sorted(names)}, files {sorted(stored)}")
    for key in names:
        # LeRobot gives float64 as float32.
        due = np.stack(files.rows[key].to_numpy(zero_copy_only=False)).astype(columns[key].dtype)
        require(np.array_equal(columns[key].reshape(due.shape), due), f"{key}: not the values of the files")
    due_tasks = [files.tasks[number] for number in columns["task_index"].ravel().tolist()]
    require(columns["task"].tolist() == due_tasks, "task: not the instructions of the files")


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
    for key, values in numeric_columns(ds, columns).items():
        shape = tuple(ds.features[key]["shape"])
        want = () if shape == (1,) else shape  # LeRobot gives a scalar for a feature of one
        require(values.shape[1:] == want, f"{key}: shape {values.shape[1:]}, info.json says {shape}")
        bad_frames = np.argwhere(~np.isfinite(values))[:, 0]
        require(not len(bad_frames), f"{key}: not finite at frames {bad_frames[:5].tolist()}")
    require(all(text.strip() for text in columns["task"].tolist()), "an empty task")


def check_times(ds: LeRobotDataset, columns: Columns) -> None:
    require(np.array_equal(columns["index"], np.arange(len(ds))), "index does not count 0, 1, 2, ...")
    lengths = np.array(list(episode_lengths(ds).values()))
    from_start = columns["index"] - (lengths.cumsum() - lengths)[columns["episode_index"]]
    require(np.array_equal(columns["frame_index"], from_start), "frame_index does not count each episode from 0")
    off_seconds = np.abs(columns["timestamp"] - columns["frame_index"] / ds.fps)
    worst = int(off_seconds.argmax())
    require(bool(off_seconds[worst] < ds.tolerance_s), f"frame {worst}: timestamp {off_seconds[worst]:.3g} s off")


def numeric_columns(ds: LeRobotDataset, columns: Columns) -> Columns:
    """Those of which LeRobot has statistics."""
    return {key: values for key, values in columns.items() if values.dtype.kind in "biuf"}


def check_statistics(ds: LeRobotDataset, columns: Columns, stored: StoredDataset, sampled: list[SampledFrames]) -> None:
    """Those of columns, of each episode and of all, are what LeRobot's own code computes.

    Of cameras those of each episode are compared, as near as their frames allow, which are fewer than LeRobot counts.
    """
    numeric, cameras = numeric_columns(ds, columns), color_keys(ds)
    of_episodes = stored.episode_statistics()
    require(len(of_episodes) == len(sampled), f"statistics of {len(of_episodes)} episodes, not {len(sampled)}")
    stop = 0
    for i, (stats, frames) in enumerate(zip(of_episodes, sampled, strict=True)):
        start, stop = stop, stop + frames.num_frames
        data: dict[str, Any] = {key: column[start:stop] for key, column in numeric.items()}
        data |= {key: frames.paths(key) for key in cameras}
        _compare(f"episode {i}", stats, compute(data, ds.features), data)
    due = compute(dict(numeric), ds.features)
    _compare("all episodes", ds.meta.stats, due, dict(numeric))


def _compare(where: str, stats: dict[str, Any], due: dict[str, Any], data: dict[str, Any]) -> None:
    """data: a column, or the paths of a camera's frames, by feature."""
    for key, found in due.items():
        require(key in stats, f"{where}: no statistics of {key}")
        compare = compare_columns if isinstance(data[key], np.ndarray) else compare_camera
        try:
            compare(stats[key], found, data[key])
        except Exception as error:
            raise Rejected(f"{where}, {key}: {error}") from error


def judge(root: Path, twin: Path | None) -> str:
    """Check everything; says what was judged.

    Raises:
        Rejected: a check fails. LeRobot's own errors are its verdict, too.
    """
    stored = StoredDataset(root)
    files = StoredDataset(twin or root)
    sampled: list[SampledFrames] = []
    for video_backend in BACKENDS:
        ds = load(stored, video_backend)
        is_first = video_backend == BACKENDS[0]
        print(f"PASS LeRobot {version('lerobot')} loads the dataset ({video_backend})", flush=True)
        if is_first:
            lengths = episode_lengths(ds)
            sampled = [SampledFrames(Path(CACHE.name) / f"frames/{i}", length) for i, length in lengths.items()]
        columns = decode_frames(ds, files, sampled if is_first else [])
        print(f"PASS every frame is that of {files.root.name} ({files.version})", flush=True)
        check_rows(ds, columns, files)
        print(f"PASS check_rows: all values are those of {files.root.name}", flush=True)
    checks: list[Callable[[LeRobotDataset, Columns], None]] = [check_episodes, check_values, check_times]
    for check in checks:
        check(ds, columns)
        print(f"PASS {check.__name__}", flush=True)
    check_statistics(ds, columns, stored, sampled)
    print("PASS check_statistics: those of columns, of each episode and of all, are LeRobot's own", flush=True)
    print("PASS check_statistics: of cameras mean and std lie near LeRobot's,", end=" ")
    print("extremes and quantiles have their ranks in its frames of each episode", flush=True)
    if stored.version == V30:
        from act_step import train

        print(f"PASS {train(f'judge/{root.name}', root, BACKENDS[0])}", flush=True)
    return f"{root.name}: LeRobot {stored.version}, {ds.num_episodes} episodes, {len(ds)} frames decoded"


def main(root: Path, twin: Path | None = None) -> int:
    try:
        print(f"ACCEPTED {judge(root, twin)}")
    except Exception as error:  # whatever LeRobot raises is its verdict
        print(f"REJECTED {root.name}: {type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*(Path(argument).resolve() for argument in sys.argv[1:3])))
