"""A sound LeRobot v3.0 dataset, and for each of its checks a way to break just what that notices."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conftest import convert_here, data_path, read_meta, video_path
from millrace.engine.packing import FileSizes, pack_dataset
from millrace.engine.packing.summaries import summarize_values
from support.broken_datasets import change_byte, put, remux
from support.synthetic import corrupt_bytes, edit_json, rewrite_parquet, truncate_file, turn_video, write_dataset

# Two episodes in each file, the first two of one length.
LENGTHS = (12, 12, 11, 9)
FPS = 50
CAMERAS = ("top", "wrist")
KEY = "observation.images.top"
TASKS = ("Pick up the cube.", "Open the drawer.")
ROWS, VIDEO = "data/chunk-000/file-{:03d}.parquet", f"videos/{KEY}/chunk-000/file-{{:03d}}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
SLOWER = 5000


def write_whole_v3(folder: Path) -> Path:
    """A dataset of four episodes and two cameras with nothing wrong, its files of two episodes each."""
    tasks = [TASKS[0], TASKS[1], TASKS[0], TASKS[0]]
    write_dataset(folder / "source", lengths=LENGTHS, fps=FPS, cameras=CAMERAS, tasks=tasks)
    convert_here(folder / "source", folder / "v21", robot="aloha", fps="source", horizon=4)
    sizes = [data_path(folder / "v21", episode).stat().st_size for episode in range(4)]
    clips = [sum(video_path(folder / "v21", one, camera).stat().st_size for one in (0, 1)) for camera in CAMERAS]
    pack_dataset(folder / "v21", folder / "whole", sizes=FileSizes(sum(sizes[:2]), max(clips)))
    assert len(list((folder / "whole").rglob("file-001.*"))) == 1 + len(CAMERAS)
    return folder / "whole"


def info(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/info.json", change)


def stats(root: Path, change: Callable[[Any], Any]) -> None:
    edit_json(root / "meta/stats.json", change)


def places(root: Path, name: str, change: Callable[[list[Any]], Any], path: str = EPISODES) -> None:
    """Replace a column of meta/episodes, or of tasks.parquet."""

    def edit(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        changed = change(values)
        rows = pa.array(values if changed is None else changed, table.schema.field(name).type)
        return put(table, name, rows)

    rewrite(root / path, edit)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite a parquet file with what pandas said of it."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def rows(root: Path, name: str, change: Callable[[NDArray[Any]], Any], kind: pa.DataType | None = None) -> None:
    """Replace a column of the rows in every file."""
    for path in sorted(root.glob("data/*/*")):
        table = pq.read_table(path)
        values = np.array(table[name].to_pylist(), table[name].type.to_pandas_dtype() if name in INTS else np.float32)
        column = pa.array(list(change(values)), kind or table[name].type)
        rewrite_parquet(path, lambda table, column=column: put(table, name, column))


INTS = ("frame_index", "episode_index", "index", "task_index")


def refresh(root: Path) -> None:
    """stats.json and those of meta/episodes of the rows as they are now."""
    features = [name for name, one in read_meta(root, "info.json")["features"].items() if one["dtype"] != "video"]
    table = pa.concat_tables([pq.read_table(path) for path in sorted(root.glob("data/*/*"))])
    numbers = table["episode_index"].to_numpy()
    values = {name: np.array(table[name].to_pylist()) for name in features}
    stats(root, lambda content: content.update({name: summarize_values(one) for name, one in values.items()}))

    def refresh_episodes(table: pa.Table) -> pa.Table:
        for name, one in values.items():
            each = [summarize_values(one[numbers == episode]) for episode in range(len(LENGTHS))]
            for stat in each[0]:
                column = f"stats/{name}/{stat}"
                kind = table.schema.field(column).type
                table = put(table, column, pa.array([summary[stat] for summary in each], kind))
        return table

    rewrite(root / EPISODES, refresh_episodes)


def add(*changes: float) -> Callable[[list[Any]], list[Any]]:
    """Add a number to the value of each episode."""
    return lambda values: [value + change for value, change in zip(values, changes, strict=True)]


def move_clip(root: Path, *frames: int) -> None:
    for name in ("from_timestamp", "to_timestamp"):
        places(root, f"videos/{KEY}/{name}", add(*(number / FPS for number in frames)))


def slow_down(root: Path) -> None:
    """So few frames a second that files are longer than float32 bears."""
    info(root, lambda content: content.update(fps=FPS / SLOWER))
    for camera in CAMERAS:
        key = f"observation.images.{camera}"
        info(root, lambda content, key=key: content["features"][key].get("info", {}).pop("video.fps", None) and None)
    rows(root, "timestamp", lambda old: old * SLOWER)
    for path in sorted(root.rglob("*.mp4")):
        remux(path, lambda place: place * SLOWER)
    for camera in CAMERAS:
        for name in ("from_timestamp", "to_timestamp"):
            column = f"videos/observation.images.{camera}/{name}"
            places(root, column, lambda values: [value * SLOWER for value in values])
    refresh(root)


def rename_task(root: Path, text: str) -> None:
    places(root, "task", lambda texts: [text, *texts[1:]], "meta/tasks.parquet")
    places(root, "tasks", lambda listed: [[text if one == TASKS[0] else one for one in texts] for texts in listed])


def drop_index(root: Path) -> None:
    info(root, lambda content: content["features"].pop("index") and None)
    stats(root, lambda content: content.pop("index") and None)


def interleave(root: Path) -> None:
    """The first episode's last row after the second."""
    order = [*range(LENGTHS[0] - 1), *range(LENGTHS[0], sum(LENGTHS[:2])), LENGTHS[0] - 1]
    rewrite_parquet(root / ROWS.format(0), lambda table: table.take(pa.array(order)))


def set_nan(values: NDArray[Any]) -> NDArray[Any]:
    values[3, 2] = np.nan
    return values


def shorten_row(root: Path) -> None:
    values = pq.read_table(root / ROWS.format(0))["action"].to_pylist()
    values[5] = values[5][:-1]
    rewrite_parquet(root / ROWS.format(0), lambda table: put(table, "action", pa.array(values, pa.list_(pa.float32()))))


def average_quantiles(root: Path) -> None:
    table = pq.read_table(root / EPISODES)
    for stat in ("q01", "q10", "q50", "q90", "q99"):
        each = np.array(table[f"stats/action/{stat}"].to_pylist())
        average = np.average(each, axis=0, weights=LENGTHS).tolist()
        stats(root, lambda content, stat=stat, average=average: content["action"].update({stat: average}))


def forge_rows(root: Path) -> None:
    """The manifest of a dataset whose first rows are others."""
    path = root / "millrace.json"
    content = json.loads(path.read_text())
    record = next(one for one in content["files"] if one["path"] == ROWS.format(0))
    path.write_text(path.read_text().replace(record["sha256"], "0" * 64))


def swap_extremes(content: dict[str, Any]) -> None:
    entry = content["action"]
    entry["min"], entry["max"] = entry["max"], entry["min"]


def change_stat(root: Path, feature: str, stat: str, off: float) -> None:
    stats(root, lambda content: content[feature][stat].append(content[feature][stat].pop() + off))


V3_BREAKS: dict[str, Callable[[Path], Any]] = {
    "dataset-missing": shutil.rmtree,
    "meta-missing": lambda root: (root / "meta/tasks.parquet").unlink(),
    "meta-parse": lambda root: (root / "meta/info.json").write_text("[]"),
    "json-finite": lambda root: stats(root, lambda content: content["action"]["mean"].append(float("nan"))),
    "codebase-version": lambda root: info(root, lambda content: content.update(codebase_version="v2.1")),
    "info-totals": lambda root: info(root, lambda content: content.update(total_frames=1)),
    "path-template": lambda root: info(root, lambda content: content.update(data_path="data/all/rows.parquet")),
    "lerobot-columns": drop_index,
    "episode-columns": lambda root: rewrite(
        root / EPISODES, lambda table: table.drop_columns([f"videos/{KEY}/chunk_index"])
    ),
    "episode-numbers": lambda root: rewrite(root / EPISODES, lambda table: table.take(pa.array([0, 1, 3, 2]))),
    "episode-file-index": lambda root: places(root, "meta/episodes/file_index", lambda old: [7 for _ in old]),
    "task-numbers": lambda root: rewrite(root / "meta/tasks.parquet", lambda table: table.take(pa.array([1, 0]))),
    "task-text": lambda root: rename_task(root, " "),
    "task-unresolved": lambda root: (rows(root, "task_index", lambda old: old + 7), refresh(root)),
    "tasks-differ": lambda root: places(root, "tasks", lambda old: [[TASKS[1]], *old[1:]]),
    "task-unused": lambda root: places(root, "tasks", lambda old: [list(TASKS), *old[1:]]),
    "rows-missing": lambda root: (root / ROWS.format(1)).unlink(),
    "rows-orphan": lambda root: shutil.copy(root / ROWS.format(1), root / ROWS.format(99)),
    "rows-unreadable": lambda root: truncate_file(root / ROWS.format(1), 0.5),
    "rows-length": lambda root: rewrite_parquet(root / ROWS.format(0), lambda table: table[:-1]),
    "rows-order": interleave,
    "rows-offsets": lambda root: [
        places(root, name, add(0, 0, -24, -24)) for name in ("dataset_from_index", "dataset_to_index")
    ],
    "rows-file-index": lambda root: places(root, "data/file_index", add(0, 0, -1, 0)),
    "rows-finite": lambda root: rows(root, "observation.state", set_nan),
    "rows-index": lambda root: (rows(root, "frame_index", lambda old: old[::-1]), refresh(root)),
    "columns-missing": lambda root: rewrite_parquet(root / ROWS.format(1), lambda table: table.drop_columns("index")),
    "columns-dtype": lambda root: rows(root, "task_index", lambda old: old, pa.float32()),
    "columns-precision": lambda root: rows(root, "action", lambda old: old, pa.list_(pa.float64(), 14)),
    "columns-shape": shorten_row,
    "timestamps": lambda root: (rows(root, "timestamp", lambda old: old + 1), refresh(root)),
    "video-missing": lambda root: (root / VIDEO.format(1)).unlink(),
    "video-orphan": lambda root: shutil.copy(root / VIDEO.format(1), root / VIDEO.format(99)),
    "video-unreadable": lambda root: truncate_file(root / VIDEO.format(1), 0.5),
    "video-places": lambda root: move_clip(root, 0, 5, 0, 0),
    "video-length": lambda root: places(root, f"videos/{KEY}/to_timestamp", add(0, -3 / FPS, 0, 0)),
    "video-overlap": lambda root: move_clip(root, 0, -3, 0, 0),
    "video-gap": lambda root: remux(root / VIDEO.format(1), lambda place: place, [*range(20), *range(3)]),
    "video-order": lambda root: move_clip(root, 12, -12, 0, 0),
    "video-rate": lambda root: remux(root / VIDEO.format(0), lambda place: 2 * place),
    "video-drift": lambda root: move_clip(root, 0, 0.03, 0, 0),  # type: ignore[arg-type]
    "video-float32": slow_down,
    "video-size": lambda root: info(root, lambda content: content["features"][KEY].update(shape=[64, 96, 3])),
    "video-info": lambda root: info(
        root, lambda content: content["features"][KEY].update(info={"video.codec": "av1", "video.pix_fmt": "yuv420p"})
    ),
    "video-turned": lambda root: turn_video(root / VIDEO.format(0), (0, 1, -1, 0)),
    "video-decode": lambda root: corrupt_bytes(root / VIDEO.format(0), 0.4, 400),
    "stats-missing": lambda root: (root / "meta/stats.json").unlink(),
    "stats-complete": lambda root: stats(root, lambda content: content["action"].pop("std") and None),
    "stats-quantiles": lambda root: stats(root, lambda content: content["action"].pop("q10") and None),
    "stats-keys": lambda root: stats(root, lambda content: content.update(__fingerprints__={"action": "sha256:0"})),
    "stats-shape": lambda root: stats(root, lambda content: content["action"]["mean"].append(0.0)),
    "stats-order": lambda root: stats(root, swap_extremes),
    "stats-values": lambda root: change_stat(root, "action", "mean", 0.1),
    "stats-averaged": average_quantiles,
    "stats-counters": lambda root: change_stat(root, "index", "mean", 3.0),
    "episode-stats-missing": lambda root: rewrite(
        root / EPISODES, lambda table: table.drop_columns(["stats/action/mean"])
    ),
    "episode-stats-shape": lambda root: places(root, "stats/action/mean", lambda old: [one[:-1] for one in old]),
    "episode-stats-values": lambda root: places(
        root, "stats/action/max", lambda old: [old[0], [one + 1 for one in old[1]], *old[2:]]
    ),
    "digests": forge_rows,
    "digests-text": lambda root: change_byte(root / "README.md"),
    "files-unlisted": lambda root: (root / "data/chunk-000/notes.txt").write_text("mine"),
}
V3_NEED_MANIFEST = {"digests", "digests-text", "files-unlisted"}
