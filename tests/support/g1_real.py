"""The real G1 datasets, read without our own readers: their rows, and their values by name."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conftest import REPOSITORY, matrix
from support.g1_tables import Values

DATASETS = REPOSITORY.parent / "shared/datasets"
LENGTHS = (102, 144, 126)


def source_rows(source: Path) -> pa.Table:
    """All rows of a dataset, whatever its layout."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(source.glob("data/*/*.parquet"))])


def kept_rows(source: Path, episode: int) -> pa.Table:
    """The rows of an episode that 30 to 20 Hz keeps: the nearest frame, ties to the even one, as Python rounds."""
    rows = source_rows(source)
    own = rows.filter(pc.equal(rows["episode_index"], episode))
    assert len(own) == LENGTHS[episode]
    due = (round(Fraction(k * 30, 20)) for k in range(len(own)))
    return own.take([frame for frame in due if frame < len(own)])


def mean_velocities(source: Path, episode: int) -> Values:
    """The base's velocity commands, over the source frames that each kept one stands for."""
    rows = source_rows(source)
    own = rows.filter(pc.equal(rows["episode_index"], episode))
    due = [frame for frame in (round(Fraction(k * 30, 20)) for k in range(len(own))) if frame < len(own)]
    values = values_of(source, "action", own)
    stretches = list(zip(due, [*due[1:], len(own)], strict=True))
    return {
        joint: np.array([values[name][start:stop].mean() for start, stop in stretches], np.float32)
        for joint, name in (("vx", "VX"), ("vy", "VY"), ("angular_z", "AngularZ"))
    }


def values_of(source: Path, kind: str, rows: pa.Table) -> Values:
    """Columns of one kind by the names that info.json gives their values."""
    features = json.loads((source / "meta/info.json").read_text())["features"]
    values: Values = {}
    for column, feature in features.items():
        if column.partition(".")[0] == kind and feature["dtype"] == "float32":
            (names,) = feature["names"]
            values |= zip(names, matrix(rows, column).reshape(len(rows), -1).T, strict=True)
    return values
