"""The files of meta/ in a LeRobot v3.0 dataset: info.json, tasks.parquet, episodes/, stats.json.

LeRobot reads tasks.parquet by pandas and takes a task by its row, so the file names its index as pandas would.
Source: LeRobot 0.6.1, datasets/utils.py (DatasetInfo), dataset_metadata.py, io_utils.py.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.engine.dataset.language_rows import DTYPE as LANGUAGE_TYPE
from millrace.engine.dataset.language_rows import LANGUAGE
from millrace.engine.dataset.processes import chunks
from millrace.engine.packing.shared_files import (
    DATA_PATH,
    EPISODES_PATH,
    FILES_A_CHUNK,
    MB,
    VIDEO_PATH,
    FileSizes,
    SharedFile,
)
from millrace.engine.packing.summaries import NAMES, Summary
from millrace.engine.sources import name_file_in_errors
from millrace.engine.sources.task_list import Noun

VERSION = "v3.0"
# Rows of meta/episodes in a file: of 44 joints and two cameras about 30 MB; and how many are in memory at a time.
EPISODES_A_FILE, ROWS_AT_ONCE = 4096, 256
# Of v2.1's info.json, what v3.0 does not have.
GONE = ("total_videos", "total_chunks")


def write_info(path: Path, info: Mapping[str, Any], sizes: FileSizes) -> None:
    """info.json, from that of v2.1."""
    kept = {name: value for name, value in info.items() if name not in GONE}
    in_mb = {"data_files_size_in_mb": sizes.data, "video_files_size_in_mb": sizes.video}
    limits = {name: max(num_bytes // MB, 1) for name, num_bytes in in_mb.items()}
    has_videos = any(feature["dtype"] == "video" for feature in info["features"].values())
    paths = {"data_path": DATA_PATH, "video_path": VIDEO_PATH if has_videos else None}
    features = {name: {**feature, **_retyped(name)} for name, feature in info["features"].items()}
    written = {
        **kept,
        "features": features,
        "codebase_version": VERSION,
        "chunks_size": FILES_A_CHUNK,
        **limits,
        **paths,
    }
    _write_json(path, written)


def _retyped(name: str) -> dict[str, str]:
    """What v2.1 has as JSON texts is of a type of its own."""
    return {"dtype": LANGUAGE_TYPE} if name in LANGUAGE else {}


def write_stats(path: Path, stats: Mapping[str, Summary]) -> None:
    """stats.json: of all episodes, by feature."""
    _write_json(path, stats)


def write_tasks(path: Path, tasks: Mapping[int, str], noun: Noun = "task") -> None:
    """tasks.parquet, or subtasks.parquet; a task's row is its number."""
    assert sorted(tasks) == list(range(len(tasks))), "tasks are numbered 0, 1, 2, ..."
    texts = [tasks[number] for number in range(len(tasks))]
    index = f"{noun}_index"
    columns = [(index, "int64", "int64"), (noun, "unicode", "object")]
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in columns
    ]
    of_columns = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [noun],
        "column_indexes": [{**of_columns, "metadata": {"encoding": "UTF-8"}}],
        "columns": described,
        "pandas_version": "2.2.3",
    }
    table = pa.table({index: pa.array(range(len(texts)), pa.int64()), noun: pa.array(texts, pa.string())})
    with name_file_in_errors(path):
        pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def write_episodes(root: Path, rows: Iterable[dict[str, Any]], cameras: Sequence[str], features: Sequence[str]) -> None:
    """meta/episodes/, in files of so many episodes.

    Args:
        root: The dataset's folder.
        rows: Of each episode, in order: the columns of `_schema` but for meta/episodes/.
        cameras: Features of the cameras.
        features: Those that have statistics, all but texts.
    """
    schema = _schema(cameras, features)
    left = iter(rows)
    for number in count():
        file = SharedFile(number, range(0))
        parts = chunks(islice(left, EPISODES_A_FILE), ROWS_AT_ONCE)
        if (first := next(parts, None)) is None:
            return
        place = {f"meta/episodes/{name}": value for name, value in file.place.items()}
        _write_rows(
            root / file.path(EPISODES_PATH), ([row | place for row in part] for part in chain([first], parts)), schema
        )


def _schema(cameras: Sequence[str], features: Sequence[str]) -> pa.Schema:
    whole, text, double = pa.int64(), pa.list_(pa.string()), pa.float64()
    fields: dict[str, pa.DataType] = {"episode_index": whole, "tasks": text, "length": whole}
    fields |= dict.fromkeys(("data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index"), whole)
    for camera in cameras:
        fields |= {f"videos/{camera}/{name}": whole for name in ("chunk_index", "file_index")}
        fields |= {f"videos/{camera}/{name}": double for name in ("from_timestamp", "to_timestamp")}
    for feature in features:
        of_values = pa.list_(double)
        kind = pa.list_(pa.list_(of_values)) if feature in cameras else of_values
        fields |= {f"stats/{feature}/{name}": pa.list_(whole) if name == "count" else kind for name in NAMES}
    fields |= dict.fromkeys(("meta/episodes/chunk_index", "meta/episodes/file_index"), whole)
    return pa.schema(fields)


def _write_rows(path: Path, parts: Iterable[list[dict[str, Any]]], schema: pa.Schema) -> None:
    """Write a file of rows, each part of them as a row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with name_file_in_errors(path), pq.ParquetWriter(path, schema) as writer:
        for part in parts:
            writer.write_table(pa.Table.from_pylist(part, schema))


def _write_json(path: Path, value: object) -> None:
    with name_file_in_errors(path):
        path.write_text(json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
