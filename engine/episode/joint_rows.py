"""A source's rows as the joints of its robot."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset.rows import read_vectors
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.planning import EpisodePlan
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.joint_columns import JointColumns
from millrace.engine.sources import RowReader

# State and action, (T, D) each.
Joints = tuple[NDArray[np.float32], NDArray[np.float32]]


def read_joints(plan: EpisodePlan, binding: Binding, reader: RowReader) -> Joints:
    """An episode's state and action, (T, D) each, in the order of its source's robot; frames are not touched.

    Raises:
        MillraceError: the rows cannot be read.
    """
    episode = plan.episode
    with episode.holding_files():
        episode.fetch([])
        ranges, table = reader.read(episode, [*binding.state.columns, *binding.action.columns])
    rows: pa.Table = table.slice(0, episode.num_frames)
    where = ", ".join(map(str, ranges))
    state, action = (
        gather_joints(rows, wanted, joints.gather, where)
        for wanted, joints in ((binding.state, binding.map.state), (binding.action, binding.map.action))
    )
    return state, action


def gather_joints(table: pa.Table, wanted: JointColumns, used: NDArray[np.int64], where: str) -> NDArray[np.float32]:
    """The robot's joints in the robot's order, shape (T, D); only joints that are used must be finite."""
    places = wanted.gather[used[used < len(wanted.gather)]]
    columns, start = [], 0
    for column, width in zip(wanted.columns, wanted.widths, strict=True):
        values = read_vectors(table, column, where=where, used=places - start)
        if values.shape[1] != width:
            raise RowsError(
                f"column '{column}' holds {values.shape[1]} values a row in {where}, but the metadata says {width}",
                code=FaultCode.WIDTH,
                got=values.shape[1],
                expected=width,
            )
        columns.append(values)
        start += width
    return np.concatenate(columns, axis=1)[:, wanted.gather]
