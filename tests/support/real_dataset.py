"""Small datasets that any info.json describes: its columns with known values, its pictures with barcodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from support.barcode import Stamp, draw
from support.real_features import CODECS
from support.synthetic_rows import write_json, write_jsonl, write_parquet
from support.synthetic_spec import DEFAULT_TASK
from support.synthetic_v2 import DATA_PATH, VIDEO_PATH
from support.synthetic_v3 import DATA_PATH as V3_DATA_PATH
from support.synthetic_v3 import EPISODES_PATH as V3_EPISODES_PATH
from support.synthetic_v3 import VIDEO_PATH as V3_VIDEO_PATH
from support.synthetic_video import SyntheticVideo, encode, encode_picture

NUM_ROWS = 18
UNSTATED_WIDTH = 5  # of columns whose shape info.json does not tell
SHORTER_SIDE = 64  # of pictures, pixels
Rows = NDArray[Any]


@dataclass(frozen=True)
class RealDataset:
    """An info.json and the episodes to write for it.

    listed: its features as they are public. info: more of its top level. episodes: number and task of each. unlisted:
    columns that the rows have and info.json does not list. task_line: more of each line of tasks.jsonl.
    """

    version: str
    robot_type: str | None
    fps: int
    listed: Mapping[str, Any]
    info: Mapping[str, Any] = field(default_factory=dict)
    episodes: Mapping[int, str] = field(default_factory=lambda: {0: DEFAULT_TASK})
    unlisted: tuple[str, ...] = ()
    task_line: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def features(self) -> dict[str, Any]:
        """What is written: the features with smaller pictures, as these only have to hold a barcode."""
        return {key: _small(feature) for key, feature in self.listed.items()}

    @property
    def videos(self) -> list[str]:
        """Keys of the features that are mp4 files."""
        return [key for key, feature in self.features.items() if feature["dtype"] == "video"]

    @property
    def tasks(self) -> list[str]:
        """Every task; its place is its task_index."""
        return list(dict.fromkeys(self.episodes.values()))

    def values(self, key: str, episode: int) -> Rows:
        """The rows of a column of numbers, (T, D); all values lie in [0, 1], and no two columns are alike."""
        feature = self.features[key]
        width = int(np.prod([UNSTATED_WIDTH if size is None else size for size in feature["shape"]]))
        column, rows = list(self.features).index(key), np.arange(NUM_ROWS)[:, None]
        phases = 1.7 * np.arange(width) + 11.3 * column + 5.1 * episode
        return cast(Rows, (0.5 + 0.5 * np.sin(rows / 20 + phases)).astype(feature["dtype"]))

    def write(self, root: Path) -> Path:
        """All files of the dataset."""
        is_v3 = self.version == "v3.0"
        paths = (V3_DATA_PATH, V3_VIDEO_PATH) if is_v3 else (DATA_PATH, VIDEO_PATH)
        info = {
            "codebase_version": self.version,
            "robot_type": self.robot_type,
            "total_episodes": len(self.episodes),
            "total_frames": len(self.episodes) * NUM_ROWS,
            "total_tasks": len(self.tasks),
            "chunks_size": 1000,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.episodes)}"},
            "data_path": paths[0],
            "video_path": paths[1] if self.videos else None,
            **self.info,
            "features": self.features,
        }
        write_json(root / "meta/info.json", info)
        (self._write_v3 if is_v3 else self._write_v2)(root, info)
        return root

    def _write_v2(self, root: Path, info: Mapping[str, Any]) -> None:
        lines = [{"episode_index": number, "tasks": [task], "length": NUM_ROWS} for number, task in self._episodes]
        write_jsonl(root / "meta/episodes.jsonl", lines)
        tasks = [{"task_index": i, "task": task, **self.task_line} for i, task in enumerate(self.tasks)]
        write_jsonl(root / "meta/tasks.jsonl", tasks)
        for number in self.episodes:
            place = {"episode_chunk": number // info["chunks_size"], "episode_index": number}
            write_parquet(root / info["data_path"].format(**place), [self._table(number)])
            for key in self.videos:
                self._write_video(root / info["video_path"].format(**place, video_key=key), key, [number])

    def _write_v3(self, root: Path, info: Mapping[str, Any]) -> None:
        place, duration = {"chunk_index": 0, "file_index": 0}, NUM_ROWS / self.fps
        write_parquet(root / info["data_path"].format(**place), [self._table(number) for number in self.episodes])
        rows: list[dict[str, Any]] = []
        for row, (number, task) in enumerate(self._episodes):
            found = {"episode_index": number, "tasks": [task], "length": NUM_ROWS}
            found |= {f"data/{name}": index for name, index in place.items()}
            for key in self.videos:
                found |= {f"videos/{key}/{name}": index for name, index in place.items()}
                times = {"from_timestamp": row * duration, "to_timestamp": (row + 1) * duration}
                found |= {f"videos/{key}/{name}": seconds for name, seconds in times.items()}
            rows.append(found)
        write_parquet(root / V3_EPISODES_PATH.format(**place), [pa.Table.from_pylist(rows)])
        tasks = pa.table({"task_index": range(len(self.tasks)), "task": self.tasks})
        write_parquet(root / "meta/tasks.parquet", [tasks])
        for key in self.videos:
            self._write_video(root / info["video_path"].format(**place, video_key=key), key, list(self.episodes))

    @property
    def _episodes(self) -> list[tuple[int, str]]:
        return list(self.episodes.items())

    def _write_video(self, path: Path, key: str, episodes: list[int]) -> None:
        """A video; one of depth or masks is none, as it is not to be opened."""
        feature = self.features[key]
        info = feature["info"]
        height, width, _ = feature["shape"]
        if info["video.is_depth_map"] or "seg_instance_id" in key:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no video")
            return
        codec, places = CODECS[info["video.codec"]], list(self.episodes)
        video = SyntheticVideo(codec=codec, height=height, width=width)  # type: ignore[arg-type]
        camera = list(self.features).index(key)
        stamps = [Stamp(row, places.index(number), camera) for number in episodes for row in range(NUM_ROWS)]
        encode(path, stamps, fps=self.fps, video=video)

    def _table(self, episode: int) -> pa.Table:
        columns = {
            key: self._column(key, episode) for key in (*self.features, *self.unlisted) if key not in self.videos
        }
        return pa.table(columns)

    def _column(self, key: str, episode: int) -> "pa.Array[Any]":
        place = list(self.episodes).index(episode)
        rows = np.arange(NUM_ROWS)
        counted = {
            "timestamp": rows / self.fps,
            "frame_index": rows,
            "episode_index": np.full(NUM_ROWS, episode),
            "index": rows + place * NUM_ROWS,
            "task_index": np.full(NUM_ROWS, self.tasks.index(self.episodes[episode])),
        }
        if key in counted:
            dtype = self.features[key]["dtype"] if key in self.features else "int64"
            return pa.array(counted[key].astype(dtype))
        feature = self.features[key]
        if feature["dtype"] == "image":
            return self._pictures(key, place)
        if feature["dtype"] == "string":
            return pa.array([f"{key} of {episode}"] * NUM_ROWS)
        if feature["dtype"] == "bool":
            return pa.array(rows == 0)
        values = self.values(key, episode)
        if feature["shape"] == [1]:
            return pa.array(values[:, 0])
        sizes = [UNSTATED_WIDTH if size is None else size for size in feature["shape"]]
        return pa.array(values.reshape(NUM_ROWS, *sizes).tolist(), _lists(feature["dtype"], len(sizes)))

    def _pictures(self, key: str, episode: int) -> "pa.Array[Any]":
        height, width, _ = self.features[key]["shape"]
        camera = list(self.features).index(key)
        pictures = (encode_picture(draw(row, episode, camera, height, width)) for row in range(NUM_ROWS))
        rows = [{"bytes": picture, "path": f"frame_{row:06d}.png"} for row, picture in enumerate(pictures)]
        return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _small(feature: dict[str, Any]) -> dict[str, Any]:
    """A feature whose pictures are 64 pixels on their shorter side."""
    if feature["dtype"] not in ("video", "image"):
        return feature
    *sizes, channels = feature["shape"]
    height, width = (SHORTER_SIDE * size // min(sizes) // 2 * 2 for size in sizes)
    told = {
        key: {**info, "video.height": height, "video.width": width} for key, info in feature.items() if "info" in key
    }
    return {**feature, "shape": [height, width, channels], **told}


def _lists(dtype: str, depth: int) -> pa.DataType:
    kind = pa.type_for_alias(dtype)
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind
