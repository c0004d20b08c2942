"""How far each joint of an action moves in the data that a checkpoint was trained on: the unit of comparable errors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.stored_statistics import read_stats
from millrace.engine.validate.statistics import TINY_RANGE
from millrace.train.checkpoint_files import read_limits
from millrace.train.episodes import joint_names
from millrace.train.training_dataset import TrainingDataset


@dataclass(frozen=True, eq=False)
class GroupRange:
    """The joints of an action group.

    Args:
        names: Of its values.
        ranges: Largest less smallest value of each, (D,); 0 where it does not change, or by noise only.
    """

    names: tuple[str, ...]
    ranges: NDArray[np.float64]


JointRanges = Mapping[str, GroupRange]
# Smallest and largest value of each joint, two arrays (D,), by group.
Limits = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def read_joint_ranges(dataset: TrainingDataset, checkpoint: str | None, tag: str | None) -> JointRanges:
    """The ranges of a checkpoint's own statistics; of the dataset's where there is none, as with a server.

    Raises:
        ConfigError: the checkpoint's statistics are missing or malformed.
    """
    if checkpoint is None or tag is None:
        return make_joint_ranges(dataset, _dataset_limits(dataset))
    return make_joint_ranges(dataset, read_limits(checkpoint, tag, "action"))


def make_joint_ranges(dataset: TrainingDataset, limits: Limits) -> JointRanges:
    """The ranges of a dataset's action groups; groups without limits, or with those of another width, are left out."""
    found = {}
    for name in dataset.modality.groups.get("action", {}):
        names = joint_names(dataset, name)
        if name in limits and len(limits[name][0]) == len(limits[name][1]) == len(names):
            unique = names if len(set(names)) == len(names) else [f"{name} {number}" for number in range(len(names))]
            found[name] = GroupRange(tuple(unique), _ranges(*limits[name]))
    return found


def _dataset_limits(dataset: TrainingDataset) -> Limits:
    stored = read_stats(dataset.metadata).entries
    found = {}
    for name, group in dataset.modality.groups.get("action", {}).items():
        if (entry := stored.get(group.column("action"))) is not None:
            where = slice(group.start, group.end)
            found[name] = entry.min[where].astype(np.float64), entry.max[where].astype(np.float64)
    return found


def _ranges(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    ranges = high - low
    magnitude = np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))
    return np.where(ranges / magnitude < TINY_RANGE, 0.0, ranges)
