"""Recordings of a simulated ALOHA: rows with the seed that each episode began with."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.train.rollout.replay import SEED
from support.synthetic import write_dataset

LENGTHS = (41, 33, 17)


def write_recording(folder: Path, seeds: Sequence[Sequence[int]] = ((7,), (8,), (9,))) -> Path:
    """Three episodes; in the last five rows of all but the second the left gripper opens, all else is 0."""
    write_dataset(folder, lengths=LENGTHS)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"][SEED] = {"dtype": "int64", "shape": [1], "names": None}
    (folder / "meta/info.json").write_text(json.dumps(info))
    for episode, path in enumerate(sorted(folder.glob("data/**/*.parquet"))):
        table = pq.read_table(path)
        action = np.zeros((table.num_rows, 14), dtype=np.float32)
        action[-5:, 6] = episode != 1
        table = table.set_column(table.column_names.index("action"), "action", pa.array(list(action)))
        pq.write_table(table.append_column(SEED, pa.array(np.resize(seeds[episode], table.num_rows))), path)
    return folder
