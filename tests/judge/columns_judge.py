"""Judge the columns beside state and action of a v3.0 dataset: LeRobot's values against numpy's from the source's rows.

    python columns_judge.py SOURCE DATASET

SOURCE is one LeRobot v3.0 dataset, DATASET what Millrace made of all of its episodes by `--resample nearest`. The
frames and the rules are computed here, by exact fractions, row by row. The exit code is 0 if every value is equal.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CACHE = tempfile.TemporaryDirectory(prefix="columns_judge_")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=CACHE.name, HF_DATASETS_CACHE=CACHE.name)
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402  (reads the environment)

OWN = {"observation.state", "action", "timestamp", "frame_index", "episode_index", "index", "task_index"}
FLAGS = ("done", "success", "terminated", "truncated", "terminal")
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def kept_frames(num_frames: int, step: Fraction) -> list[int]:
    """The source frame nearest to each due one; ties go to the even frame. step: source frames an output frame."""
    return [round(step * number) for number in range(int((num_frames - 1) / step) + 1)]


def due_value(name: str, dtype: str, rows: list[Any]) -> Any:
    """What a kept frame has of the rows that it stands for."""
    own_name = name.replace("/", ".").split(".")[-1]
    if name == "language_events":
        return [one for row in rows for one in row or ()]
    if dtype == "bool":
        return np.any(rows, axis=0)
    if own_name in ("reward", "rewards"):
        return np.sum(rows, axis=0)
    return np.max(rows, axis=0) if own_name in FLAGS else rows[0]


def normalize(name: str, value: Any) -> Any:
    """Language with tools' calls as they are called, and times as LeRobot stores them."""
    if not name.startswith("language_"):
        return value
    return [_normalize_said(one) for one in value]


def _normalize_said(one: dict[str, Any]) -> dict[str, Any]:
    calls, seconds = one.get("tool_calls"), one.get("timestamp")
    told = None if calls is None else [json.loads(call) if isinstance(call, str) else call for call in calls]
    return {**one, "tool_calls": told, **({} if seconds is None else {"timestamp": float(np.float32(seconds))})}


def due_rows(source: Path, columns: list[str], fps: Fraction) -> Iterator[dict[str, Any]]:
    """Each output row of the source's episodes, in order."""
    info = json.loads((source / "meta/info.json").read_bytes())
    table = pa.concat_tables([pq.read_table(path) for path in sorted((source / "data").glob("*/*.parquet"))])
    owners = table["episode_index"].to_numpy()
    for episode in sorted(set(owners.tolist())):
        rows = {name: table[name].filter(pa.array(owners == episode)).to_pylist() for name in columns}
        length = int((owners == episode).sum())
        kept = kept_frames(length, Fraction(info["fps"]) / fps)
        for start, stop in zip(kept, [*kept[1:], length], strict=True):
            dtypes = {name: info["features"][name]["dtype"] for name in columns}
            yield {name: due_value(name, dtypes[name], rows[name][start:stop]) for name in columns}


def main(source: Path, dataset: Path) -> int:
    found = LeRobotDataset(f"judge/{dataset.name}", root=dataset, video_backend="pyav")
    others = {name: one for name, one in found.features.items() if one["dtype"] != "video" and name not in OWN}
    wrong, values = [], {name: list[Any]() for name in others}
    due = list(due_rows(source, list(others), Fraction(found.fps)))
    for number, row in enumerate(due):
        item = found[number]
        for name, expected in row.items():
            have = item[name] if isinstance(item[name], (str, list)) else item[name].numpy()
            expected = np.asarray(expected, have.dtype) if isinstance(have, np.ndarray) else normalize(name, expected)
            have = have if isinstance(have, np.ndarray) else normalize(name, have)
            values[name].append(have)
            if not (np.array_equal(have, expected) if isinstance(have, np.ndarray) else have == expected):
                wrong.append(f"row {number}, {name}: {have}, due {expected}")
    if len(due) != len(found):
        wrong.append(f"{len(found)} rows, due {len(due)}")
    for name in (name for name, one in others.items() if one["dtype"] not in ("string", "language")):
        column = np.stack(values[name]).reshape(len(due), -1).astype(np.float64)
        stats = {stat: getattr(column, stat)(axis=0) for stat in ("min", "max", "mean", "std")}
        stats |= {stat: np.quantile(column, share, axis=0) for stat, share in QUANTILES.items()}
        stale = [stat for stat, one in stats.items() if not np.allclose(found.meta.stats[name][stat], one, rtol=1e-6)]
        wrong += [f"statistics of {name}: {', '.join(stale)}"] if stale else []
    print("\n".join(wrong[:20]) or f"EQUAL: {len(others)} columns of {len(due)} rows, and their statistics")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
