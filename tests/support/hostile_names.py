"""A dataset whose names are HTML and script, with rows and a video that are broken."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conftest import data_path, video_path
from support.synthetic import ALOHA_JOINTS, rewrite_parquet, write_dataset

SCRIPT = "<script>document.title = 'owned'</script>"
IMAGE = "<img src=x onerror=alert(1)>"
LENGTHS = (30, 24, 18)
NAN_EPISODE, BROKEN_EPISODE = 1, 2


def write_hostile(root: Path) -> Path:
    """A dataset whose task, joint, camera and robot names are HTML; of its episodes one has a NaN, one a bad video."""
    names = [f"{SCRIPT} {joint}" for joint in ALOHA_JOINTS]
    write_dataset(root, lengths=LENGTHS, cameras=(IMAGE,), tasks=f"Pick {SCRIPT}", names=names, robot_type=IMAGE)
    state = np.linspace(0, 1, LENGTHS[NAN_EPISODE] * 14, dtype=np.float32).reshape(-1, 14)
    state[5, 3] = np.nan
    rewrite_parquet(data_path(root, NAN_EPISODE), lambda table: _with_state(table, state))
    video_path(root, BROKEN_EPISODE, IMAGE).write_bytes(b"no video")
    return root


def _with_state(table: pa.Table, state: NDArray[np.float32]) -> pa.Table:
    place = table.schema.get_field_index("observation.state")
    column = pa.array(list(state), table.schema.field(place).type)
    return table.set_column(place, table.schema.field(place), column)
