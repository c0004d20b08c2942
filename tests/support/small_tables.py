"""A dataset of rows only, with whatever columns a test wants, in LeRobot's v2.1 layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from support.synthetic_rows import write_json, write_jsonl

NUM_ROWS = 18


@dataclass(frozen=True)
class Column:
    """A column as info.json describes it."""

    shape: Sequence[int] = (1,)
    names: Any = None
    dtype: str = "float32"

    def values(self, seed: int) -> NDArray[Any]:
        """Rows that differ in every value, (T, D), of the column's type; truth values alternate."""
        width = int(np.prod(self.shape))
        numbers = np.arange(NUM_ROWS * width).reshape(NUM_ROWS, width) + 1000 * seed
        if self.dtype == "bool":
            return numbers // max(width, 1) % 2 == 1
        return numbers.astype(self.dtype) if self.dtype.startswith("int") else (numbers / 1024).astype(self.dtype)


def write_table(root: Path, columns: Mapping[str, Column], *, fps: int = 20, robot_type: str | None = None) -> None:
    """One episode; column number n holds `values(n)`."""
    features: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for seed, (name, column) in enumerate(columns.items()):
        features[name] = {"dtype": column.dtype, "shape": list(column.shape), "names": column.names}
        values = column.values(seed).reshape(NUM_ROWS, *column.shape)
        arrays[name] = pa.array((values[:, 0] if list(column.shape) == [1] else values).tolist(), _kind(column))
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
        arrays[name] = np.arange(NUM_ROWS) if name in ("frame_index", "index") else np.zeros(NUM_ROWS, np.int64)
    info = {"codebase_version": "v2.1", "robot_type": robot_type, "fps": fps, "features": features, "chunks_size": 1000}
    write_json(root / "meta/info.json", info)
    write_jsonl(root / "meta/episodes.jsonl", [{"episode_index": 0, "tasks": ["Move."], "length": NUM_ROWS}])
    write_jsonl(root / "meta/tasks.jsonl", [{"task_index": 0, "task": "Move."}])
    path = root / "data/chunk-000/episode_000000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(arrays), path)


def _kind(column: Column) -> pa.DataType:
    kind = {"bool": pa.bool_(), "float64": pa.float64(), "int64": pa.int64()}.get(column.dtype, pa.float32())
    for _ in () if list(column.shape) == [1] else column.shape:
        kind = pa.list_(kind)
    return kind
