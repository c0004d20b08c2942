"""Make the robot of a synthetic dataset stand still: its rows are held, its pictures go on counting frames."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conftest import data_path
from support.synthetic import expected_action, expected_state, rewrite_parquet

Stretch = tuple[int, int]


def held(values: NDArray[np.float32], stretches: Iterable[Stretch]) -> NDArray[np.float32]:
    """The values, (T, D), with those of each stretch's first frame in all of it."""
    values = values.copy()
    for start, stop in stretches:
        values[start:stop] = values[start]
    return values


def hold(root: Path, stretches: Iterable[Stretch], *, episode: int = 0) -> None:
    """Hold state and action of an episode of a v2.1 dataset in some stretches."""
    told = list(stretches)

    def change(table: pa.Table) -> pa.Table:
        frames = np.arange(len(table))
        state, action = expected_state(episode, frames), expected_action(episode, frames)
        return with_vectors(table, held(state, told), held(action, told))

    rewrite_parquet(data_path(root, episode), change)


def with_vectors(table: pa.Table, state: NDArray[np.float32], action: NDArray[np.float32]) -> pa.Table:
    """The rows with another state and action."""
    for column, values in (("observation.state", state), ("action", action)):
        place = table.column_names.index(column)
        array = pa.array(list(values)).cast(table.schema.field(column).type)
        table = table.set_column(place, table.schema.field(column), array)
    return table
