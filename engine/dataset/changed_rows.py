"""Other numbers in an output episode's rows: what is no number of an episode, a frame or a task stays as it is."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.engine.dataset.rows import to_arrow
from millrace.engine.sources import name_file_in_errors

# Where Arrow's writer keeps the types of columns; read back, items of lists have another name.
SCHEMA = b"ARROW:schema"


def change_rows(
    path: Path, target: Path, *, sha256: str, episode_index: int, first_index: int, tasks: Mapping[int, int]
) -> dict[str, NDArray[np.int64]] | None:
    """Write an episode's rows with other numbers, byte for byte as `write_rows` would.

    Args:
        path: Rows that `write_rows` wrote.
        target: The file to write.
        sha256: Of the rows.
        episode_index: The episode's number.
        first_index: The global index of its first frame.
        tasks: Numbers of its tasks, by those that the rows hold.

    Returns:
        The columns that changed, (T,) each; None where the file is not the one with that digest.
    """
    with name_file_in_errors(path):
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    file = pq.ParquetFile(pa.BufferReader(content))
    stored = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(file.metadata.metadata[SCHEMA])))
    table = file.read(use_threads=False).cast(stored)
    wanted = {
        "episode_index": np.full(len(table), episode_index, dtype=np.int64),
        "index": np.arange(first_index, first_index + len(table), dtype=np.int64),
        "task_index": _change(table["task_index"].to_numpy(), tasks),
    }
    changed = {name: values for name, values in wanted.items() if not np.array_equal(table[name].to_numpy(), values)}
    for name, values in changed.items():
        place = table.column_names.index(name)
        table = table.set_column(place, stored.field(place), to_arrow(values))
    with name_file_in_errors(target):
        pq.write_table(table, target)
    return changed


def _change(numbers: NDArray[np.int64], tasks: Mapping[int, int]) -> NDArray[np.int64]:
    if all(before == now for before, now in tasks.items()):
        return numbers
    before, inverse = np.unique(numbers, return_inverse=True)
    return np.array([tasks[index] for index in before.tolist()], dtype=np.int64)[inverse]
