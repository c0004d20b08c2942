"""What the files of a LeRobot dataset hold, v2.1 or v3.0, read in their order and without LeRobot."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

V21, V30 = "v2.1", "v3.0"
DATA = {V21: "data/chunk-*/episode_*.parquet", V30: "data/chunk-*/file-*.parquet"}
VIDEOS = {V21: "videos/chunk-*/{key}/episode_*.mp4", V30: "videos/{key}/chunk-*/file-*.mp4"}


class StoredDataset:
    """A dataset's rows, frames and tasks: its files hold the episodes one after another in both layouts."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def version(self) -> str:
        """The layout, as info.json says."""
        return str(json.loads((self.root / "meta/info.json").read_bytes())["codebase_version"])

    @cached_property
    def rows(self) -> pa.Table:
        """The rows of all files."""
        return pa.concat_tables([pq.read_table(path) for path in sorted(self.root.glob(DATA[self.version]))])

    @cached_property
    def tasks(self) -> list[str]:
        """Texts by task_index."""
        if self.version == V21:
            lines = (self.root / "meta/tasks.jsonl").read_text(encoding="utf-8").splitlines()
            texts = {line["task_index"]: line["task"] for line in map(json.loads, lines)}
        else:
            table = pq.read_table(self.root / "meta/tasks.parquet")
            texts = dict(zip(table["task_index"].to_pylist(), table["task"].to_pylist(), strict=True))
        return [texts[number] for number in range(len(texts))]

    def frames(self, camera: str) -> Iterator[NDArray[np.uint8]]:
        """Every frame of a camera, (H, W, 3) RGB, decoded from the beginning of each file to its end."""
        for path in sorted(self.root.glob(VIDEOS[self.version].format(key=camera))):
            with av.open(str(path)) as container:
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format="rgb24")

    def episode_statistics(self) -> list[dict[str, dict[str, NDArray[Any]]]]:
        """Statistics of each episode, by feature and name."""
        if self.version == V21:
            lines = (self.root / "meta/episodes_stats.jsonl").read_text(encoding="utf-8").splitlines()
            found = [json.loads(line)["stats"] for line in lines]
            return [{key: _to_arrays(summary) for key, summary in stats.items()} for stats in found]
        paths = sorted(self.root.glob("meta/episodes/chunk-*/file-*.parquet"))
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        return [_nest(row) for row in rows]


def _nest(row: dict[str, Any]) -> dict[str, dict[str, NDArray[Any]]]:
    """The columns stats/FEATURE/NAME of a row of meta/episodes."""
    found: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            feature, name = column.removeprefix("stats/").rsplit("/", 1)
            found.setdefault(feature, {})[name] = value
    return {key: _to_arrays(summary) for key, summary in found.items()}


def _to_arrays(summary: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(values) for name, values in summary.items()}
