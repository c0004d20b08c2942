"""What LeRobot's converter and its merge tool do, and no more, with Millrace's own joining and writing of metadata.

Nothing is checked, no digest taken and no statistic computed from rows or frames: those of episodes are taken over,
and those of all are weighted averages of these, also quantiles, which are then not exact. Only to be measured.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.engine.dataset.metadata import EPISODES_STATS, INFO, STATS, Metadata
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.packing.joins import join_rows
from millrace.engine.packing.shared_files import DATA_PATH, VIDEO_PATH, FileSizes, Load, SharedFile, share_files
from millrace.engine.packing.summaries import QUANTILES, Summary
from millrace.engine.packing.v3_metadata import write_episodes, write_info, write_stats, write_tasks
from millrace.engine.video.join import join_clips

SIZES = FileSizes()


def join_episodes(root: Path, out: Path) -> None:
    """A dataset in v2.1 as v3.0: `convert_dataset_v21_to_v30`."""
    metadata, problems = read_metadata(root)
    assert metadata is not None, problems
    data_paths = [root / metadata.data_path(number) for number in range(metadata.num_episodes)]
    data = _share(data_paths, SIZES.data)
    for file in data:
        join_rows([data_paths[number] for number in file.episodes], _place(out / file.path(DATA_PATH)))
    videos = {camera: _join_camera(metadata, camera, out) for camera in metadata.cameras}
    lines = (root / EPISODES_STATS).read_text().splitlines()
    stats = [json.loads(line)["stats"] for line in lines]
    features = list(metadata.info.features)
    write_episodes(out, _episode_rows(metadata, data, videos, stats), metadata.cameras, features)
    write_info(out / INFO, json.loads((root / INFO).read_bytes()), SIZES)
    write_tasks(out / "meta/tasks.parquet", dict(metadata.tasks or {}))
    write_stats(out / STATS, {name: average([stat[name] for stat in stats]) for name in features})


def _share(paths: Sequence[Path], max_bytes: int) -> list[SharedFile]:
    return share_files((Load(path.stat().st_size) for path in paths), max_bytes=max_bytes)


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _join_camera(metadata: Metadata, camera: str, out: Path) -> list[SharedFile]:
    paths = [metadata.root / metadata.video_path(number, camera) for number in range(metadata.num_episodes)]
    files = _share(paths, SIZES.video)
    for file in files:
        clips = [(paths[number], int(metadata.lengths[number])) for number in file.episodes]
        path = _place(out / file.path(VIDEO_PATH, video_key=camera))
        join_clips([clip for clip, _ in clips], [length for _, length in clips], path, metadata.info.fps)
    return files


def _episode_rows(
    metadata: Metadata,
    data: Sequence[SharedFile],
    videos: Mapping[str, Sequence[SharedFile]],
    stats: Sequence[Mapping[str, Summary]],
) -> Iterator[dict[str, Any]]:
    data_of = {number: file for file in data for number in file.episodes}
    video_of = {camera: {n: file for file in files for n in file.episodes} for camera, files in videos.items()}
    starts, fps = metadata.lengths.cumsum() - metadata.lengths, metadata.info.fps
    for episode in metadata.episodes():
        row: dict[str, Any] = {"episode_index": episode.index, "tasks": list(episode.tasks), "length": episode.length}
        row |= {f"data/{name}": value for name, value in data_of[episode.index].place.items()}
        row |= {"dataset_from_index": episode.first_row, "dataset_to_index": episode.first_row + episode.length}
        for camera, files in video_of.items():
            file = files[episode.index]
            before = episode.first_row - int(starts[file.episodes.start])
            row |= {f"videos/{camera}/{name}": value for name, value in file.place.items()}
            row[f"videos/{camera}/from_timestamp"] = float(before / fps)
            row[f"videos/{camera}/to_timestamp"] = float((before + episode.length) / fps)
        for feature, summary in stats[episode.index].items():
            row |= {f"stats/{feature}/{name}": values for name, values in summary.items()}
        yield row


@dataclass(frozen=True, eq=False)
class JoinedDataset:
    """A dataset in v3.0 that is merged: its metadata, and what its numbers become."""

    root: Path
    first_episode: int
    first_row: int
    episodes: pa.Table
    tasks: NDArray[np.int64]

    def data_files(self) -> list[tuple[int, int]]:
        """Chunk and file of each parquet file."""
        return _files(self.episodes, "data")


def merge_joined(roots: Sequence[Path], out: Path) -> None:
    """Datasets in v3.0 as one: `aggregate_datasets`."""
    info = json.loads((roots[0] / INFO).read_bytes())
    tasks: dict[str, int] = {}
    parts = list(_open(roots, tasks))
    cameras = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    tables = [part.episodes for part in parts]
    for camera in cameras:
        tables = _merge_videos(parts, tables, camera, out, Fraction(info["fps"]))
    tables = _merge_data(parts, tables, out)
    tables = [_shift(table, part) for table, part in zip(tables, parts, strict=True)]
    (out / "meta/episodes/chunk-000").mkdir(parents=True)
    merged = pa.concat_tables(tables)
    pq.write_table(merged, out / "meta/episodes/chunk-000/file-000.parquet")
    counts = {"total_episodes": len(merged), "total_frames": pc.sum(merged["length"]).as_py()}
    counts |= {"total_tasks": len(tasks)}
    write_info(out / INFO, {**info, **counts, "splits": {"train": f"0:{len(merged)}"}}, SIZES)
    write_tasks(out / "meta/tasks.parquet", {number: text for text, number in tasks.items()})
    stats = [json.loads((root / STATS).read_bytes()) for root in roots]
    write_stats(out / STATS, {name: average([stat[name] for stat in stats]) for name in info["features"]})


def _open(roots: Sequence[Path], tasks: dict[str, int]) -> Iterator[JoinedDataset]:
    """The datasets in their order; adds their instructions to `tasks`."""
    episode, row = 0, 0
    for root in roots:
        table = pa.concat_tables([pq.read_table(path) for path in sorted(root.glob("meta/episodes/*/*.parquet"))])
        texts = pq.read_table(root / "meta/tasks.parquet")["task"].to_pylist()
        numbers = np.array([tasks.setdefault(text, len(tasks)) for text in texts])
        yield JoinedDataset(root, episode, row, table, numbers)
        episode, row = episode + len(table), row + pc.sum(table["length"]).as_py()


def _files(episodes: pa.Table, name: str) -> list[tuple[int, int]]:
    pairs = zip(episodes[f"{name}/chunk_index"].to_pylist(), episodes[f"{name}/file_index"].to_pylist(), strict=True)
    return list(dict.fromkeys(pairs))


def _merge_videos(
    parts: Sequence[JoinedDataset], tables: Sequence[pa.Table], camera: str, out: Path, fps: Fraction
) -> list[pa.Table]:
    """Join a camera's files; the tables with their new places and times."""
    key = f"videos/{camera}"
    found = [(part, pair) for part in parts for pair in _files(part.episodes, key)]
    paths = [part.root / _path(VIDEO_PATH, pair, camera) for part, pair in found]
    lengths = [_num_frames(part.episodes, key, pair) for part, pair in found]
    files = _share(paths, SIZES.video)
    moved: dict[tuple[int, tuple[int, int]], tuple[SharedFile, float]] = {}
    for file in files:
        chosen = list(file.episodes)
        path = _place(out / file.path(VIDEO_PATH, video_key=camera))
        join_clips([paths[n] for n in chosen], [lengths[n] for n in chosen], path, fps)
        for n in chosen:
            before = sum(lengths[chosen[0] : n])
            moved[id(found[n][0]), found[n][1]] = file, float(before / fps)
    changed = []
    for part, table in zip(parts, tables, strict=True):
        pairs = zip(table[f"{key}/chunk_index"].to_pylist(), table[f"{key}/file_index"].to_pylist(), strict=True)
        places = [moved[id(part), pair] for pair in pairs]
        offsets = pa.array([seconds for _, seconds in places])
        for name in ("chunk_index", "file_index"):
            table = _replace(table, f"{key}/{name}", pa.array([file.place[name] for file, _ in places]))
        for name in ("from_timestamp", "to_timestamp"):
            table = _replace(table, f"{key}/{name}", pc.add(table[f"{key}/{name}"], offsets))
        changed.append(table)
    return changed


def _num_frames(episodes: pa.Table, key: str, pair: tuple[int, int]) -> int:
    chunk, file = pc.equal(episodes[f"{key}/chunk_index"], pair[0]), pc.equal(episodes[f"{key}/file_index"], pair[1])
    return int(pc.sum(episodes.filter(pc.and_(chunk, file))["length"]).as_py())


def _path(template: str, pair: tuple[int, int], camera: str = "") -> str:
    return template.format(chunk_index=pair[0], file_index=pair[1], video_key=camera)


def _merge_data(parts: Sequence[JoinedDataset], tables: Sequence[pa.Table], out: Path) -> list[pa.Table]:
    """Renumber and join the rows, a row group for each episode; the tables with their new places."""
    found = [(part, pair) for part in parts for pair in part.data_files()]
    paths = [part.root / _path(DATA_PATH, pair) for part, pair in found]
    moved: dict[tuple[int, tuple[int, int]], SharedFile] = {}
    for file in _share(paths, SIZES.data):
        writer = None
        for n in file.episodes:
            table = _renumber(pq.read_table(paths[n]), found[n][0])
            writer = writer or pq.ParquetWriter(_place(out / file.path(DATA_PATH)), table.schema)
            starts = np.flatnonzero(np.diff(table["episode_index"].to_numpy(), prepend=-1))
            for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
                writer.write_table(table.slice(start, stop - start))
            moved[id(found[n][0]), found[n][1]] = file
        assert writer is not None
        writer.close()
    changed = []
    for part, table in zip(parts, tables, strict=True):
        pairs = zip(table["data/chunk_index"].to_pylist(), table["data/file_index"].to_pylist(), strict=True)
        files = [moved[id(part), pair] for pair in pairs]
        for name in ("chunk_index", "file_index"):
            table = _replace(table, f"data/{name}", pa.array([file.place[name] for file in files]))
        changed.append(table)
    return changed


def _renumber(table: pa.Table, part: JoinedDataset) -> pa.Table:
    table = _replace(table, "episode_index", pc.add(table["episode_index"], part.first_episode))
    table = _replace(table, "index", pc.add(table["index"], part.first_row))
    return _replace(table, "task_index", pa.array(part.tasks[table["task_index"].to_numpy()]))


def _shift(table: pa.Table, part: JoinedDataset) -> pa.Table:
    """Numbers of episodes and rows, and their statistics."""
    offsets = {"episode_index": part.first_episode, "index": part.first_row}
    for name in ("dataset_from_index", "dataset_to_index"):
        table = _replace(table, name, pc.add(table[name], part.first_row))
    table = _replace(table, "episode_index", pc.add(table["episode_index"], part.first_episode))
    for feature, offset in offsets.items():
        for name in ("min", "max", "mean", *QUANTILES):
            column = table[f"stats/{feature}/{name}"].combine_chunks()
            values = pc.add(column.flatten(), float(offset))
            table = _replace(table, f"stats/{feature}/{name}", pa.ListArray.from_arrays(column.offsets, values))
    return table


def _replace(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)


def average(summaries: Sequence[Summary]) -> Summary:
    """Statistics of several sets of values as those of one; quantiles are averaged, as LeRobot does."""
    arrays = {name: np.array([summary[name] for summary in summaries]) for name in summaries[0]}
    counts = arrays["count"][:, 0]
    shares = counts / counts.sum()
    found = {name: np.tensordot(shares, arrays[name], 1) for name in arrays if name in ("mean", *QUANTILES)}
    spread = np.tensordot(shares, arrays["std"] ** 2 + (arrays["mean"] - found["mean"]) ** 2, 1)
    found |= {"min": arrays["min"].min(0), "max": arrays["max"].max(0), "std": np.sqrt(spread)}
    return {name: values.tolist() for name, values in found.items()} | {"count": [int(counts.sum())]}
