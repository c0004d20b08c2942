"""Small LeRobot datasets in every layout, whose pixels and joints say which frame they are, and ways to break them.

write_dataset(tmp_path / "aloha", version="v2.1", lengths=(20, 13), cameras=("top", "wrist"))
"""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support.barcode import NO_EPISODE, Stamp
from support.synthetic_frames import write_frames
from support.synthetic_hdf5 import write_act
from support.synthetic_recordings import write_recordings
from support.synthetic_rows import write_json, write_jsonl
from support.synthetic_spec import (
    ALOHA_JOINTS,
    DEFAULT_TASK,
    ExtraColumn,
    SyntheticDataset,
    expected_action,
    expected_state,
)
from support.synthetic_v1 import write_hybrid, write_v1
from support.synthetic_v2 import write_v2
from support.synthetic_v3 import write_v3
from support.synthetic_video import (
    SyntheticVideo,
    cut_by_edit_list,
    encode,
    encode_picture,
    read_stamps,
    read_video,
    turn_video,
    write_video,
)

__all__ = [
    "ALOHA_JOINTS",
    "DEFAULT_TASK",
    "NO_EPISODE",
    "ExtraColumn",
    "Stamp",
    "SyntheticDataset",
    "SyntheticVideo",
    "blank_columns",
    "corrupt_bytes",
    "cut_by_edit_list",
    "edit_column",
    "edit_json",
    "edit_jsonl",
    "encode",
    "encode_picture",
    "expected_action",
    "expected_state",
    "read_stamps",
    "read_video",
    "replace_with_lfs_pointer",
    "rewrite_parquet",
    "truncate_file",
    "turn_video",
    "write_dataset",
    "write_video",
]

_WRITERS = {
    "v1.6": write_v1,
    "hybrid": write_hybrid,
    "v2.0": write_v2,
    "v2.1": write_v2,
    "v3.0": write_v3,
    "frames": write_frames,
    "act": write_act,
    "xr_teleoperate": write_recordings,
}


def write_dataset(root: Path, **options: Any) -> SyntheticDataset:
    """Writes a complete dataset under `root`; the options are the fields of `SyntheticDataset`, which it returns."""
    dataset = SyntheticDataset(**options)
    _WRITERS[dataset.version](root, dataset)
    return dataset


def truncate_file(path: Path, keep_fraction: float) -> None:
    """Keeps the first part of a file, as a full disk or a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep_fraction)])


def corrupt_bytes(path: Path, offset_fraction: float, num_bytes: int, seed: int = 0) -> None:
    """Changes every one of `num_bytes` bytes from the given place on, without changing the size."""
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    start = int(len(content) * offset_fraction)
    stretch = content[start : start + num_bytes]
    stretch ^= np.random.default_rng(seed).integers(1, 256, len(stretch), np.uint8)
    path.write_bytes(content.tobytes())


def replace_with_lfs_pointer(path: Path) -> None:
    """What `git clone` leaves in place of a large file when git-lfs is missing."""
    size = path.stat().st_size
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{size:064x}\nsize {size}\n")


def rewrite_parquet(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replaces a parquet file's table by `change(table)`."""
    with pq.ParquetFile(path) as file:
        table = file.read()
    pq.write_table(change(table), path)


def edit_column(path: Path, column: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Replaces the values of one column of a parquet file."""

    def rewrite(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        return table.set_column(place, column, pa.array(change(table[column].to_pylist())))

    rewrite_parquet(path, rewrite)


def blank_columns(path: Path, keep: Collection[str] = ()) -> None:
    """Overwrites all values of a parquet file but those of the columns to keep; its footer stays."""
    footer, content = pq.read_metadata(path), bytearray(path.read_bytes())
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
            if column.path_in_schema.removesuffix(".list.element") not in keep:
                content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Replaces a JSON file's content by what `change` returns, or where that is None, by what it edited in place."""
    content = json.loads(path.read_text())
    changed = change(content)
    write_json(path, content if changed is None else changed)


def edit_jsonl(path: Path, change: Callable[[list[Any]], list[Any] | None]) -> None:
    """The same for the list of a JSONL file's rows."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    changed = change(rows)
    write_jsonl(path, rows if changed is None else changed)
