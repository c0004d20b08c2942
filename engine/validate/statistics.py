"""Statistics against the rows: are they theirs, and what will GR00T's normalisation make of them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from embodiments.errors import MillraceError
from engine.groot_stats import RelativeGroup, groot_statistics
from engine.stats import Statistics
from engine.text import some
from engine.validate.metadata import RELATIVE_STATS, STATS, JointSlice, Metadata
from engine.validate.report import Problem, problem
from engine.validate.stored_statistics import NAMES, TOLERANCE, Stored, relative_group
from engine.validate.training import MAX_HORIZON, Trained

# GR00T adds up float32 in float32: its mean and std of many rows may be off by this part of max - min.
MOMENTS_TOLERANCE = 1e-3
# In rad, m or a share, as a part of the larger of 1 and the magnitude; sensors resolve little more.
TINY_RANGE = 1e-3
# Position and rot6d (gr00t/data/stats.py): the difference of poses is not that of their numbers.
POSE_WIDTH = 9


def value_problems(
    metadata: Metadata,
    stats: Mapping[str, Stored],
    relative: Mapping[str, Stored],
    on_episode: Callable[[int], None],
) -> Iterator[Problem]:
    """The statistics computed anew, by the code that the converter uses; all rows must be sound."""
    paths = _paths(metadata, on_episode)
    groups = _recomputable(metadata, relative)
    if not (stats or groups):
        return
    horizon = next((len(relative[name].values["mean"]) for name in groups), 1)
    try:
        found, relative_found = groot_statistics(paths, list(stats), groups, horizon=horizon)
    except (MillraceError, OSError) as error:
        yield problem("stats-values", STATS, f"cannot be compared with the rows: {error}")
        return
    for name, entry in stats.items():
        yield from _difference(entry, found[name], STATS, name)
    for name, right in relative_found.items():
        yield from _difference(relative[name], right, RELATIVE_STATS, name)


def _paths(metadata: Metadata, on_episode: Callable[[int], None]) -> Iterator[Path]:
    for number, index in enumerate(metadata.indices.tolist(), start=1):
        yield metadata.root / metadata.data_path(index)
        on_episode(number)


def _recomputable(metadata: Metadata, relative: Mapping[str, Stored]) -> dict[str, RelativeGroup]:
    """Joint groups whose slices fit their columns, where chunks are H steps in a row from the state on."""
    action = None if metadata.config is None else metadata.config.modalities.get("action")
    is_plain = action is None or action.deltas == tuple(range(len(action.deltas)))
    if metadata.modality is None or not is_plain:
        return {}
    groups: dict[str, RelativeGroup] = {}
    for name, stored in relative.items():
        group = relative_group(metadata, metadata.modality, name)
        num_steps, width = stored.values["mean"].shape
        if isinstance(group, RelativeGroup) and num_steps <= MAX_HORIZON and not _is_pose(metadata, name, width):
            groups[name] = group
    return {name: group for name, group in groups.items() if _fits(metadata, group)}


def _is_pose(metadata: Metadata, name: str, width: int) -> bool:
    if metadata.config is not None and name in metadata.config.relative:
        return metadata.config.relative[name].type == "EEF"
    return width == POSE_WIDTH or "eef" in name.lower()


def _fits(metadata: Metadata, group: RelativeGroup) -> bool:
    features = metadata.info.features
    places = ((group.state_column, group.state), (group.action_column, group.action))
    return all(
        column in features and features[column].is_float and 0 <= place.start < place.stop <= features[column].width
        for column, place in places
    )


def _difference(stored: Stored, right: Statistics, name: str, key: str) -> Iterator[Problem]:
    spread = np.asarray(right.max, np.float64) - right.min
    for stat in NAMES:
        expected = np.asarray(getattr(right, stat), np.float64)
        slack = TOLERANCE * stored.magnitude + (MOMENTS_TOLERANCE * spread if stat in ("mean", "std") else 0.0)
        bad = np.argwhere(np.abs(stored.values[stat] - expected) > slack)
        if len(bad):
            place = tuple(bad[0].tolist())
            message = (
                f"{stat} of {key!r} is {stored.values[stat][place]:g} at {list(place)}, but the rows give "
                f"{expected[place]:g}: stale or damaged. Delete the file, and GR00T computes it anew"
            )
            yield problem("stats-values", name, message)
            return


def spread_problems(metadata: Metadata, stats: Mapping[str, Stored]) -> Iterator[Problem]:
    """Trained values that never change, or hardly, in one line each."""
    constant: list[str] = []
    tiny: list[str] = []
    for modality, groups in Trained.of(metadata).groups.items():
        for name, group in groups.items():
            for index, spread in _spreads(stats.get(group.column(modality)), group):
                label = (
                    metadata.info.features[group.column(modality)].value_name(index) or f"{name}[{index - group.start}]"
                )
                if spread == 0:
                    constant.append(f"{modality} {label}")
                elif spread < TINY_RANGE:
                    tiny.append(f"{modality} {label}")
    if constant:
        message = f"{len(constant)} trained values never change, which GR00T makes 0: {some(constant)}"
        yield problem("stats-constant", STATS, message)
    if tiny:
        message = f"{len(tiny)} trained values change by next to nothing, which GR00T scales to [-1, 1]: {some(tiny)}"
        yield problem("stats-tiny-range", STATS, message)


def _spreads(stored: Stored | None, group: JointSlice) -> list[tuple[int, float]]:
    """max - min of each value of a group, as a part of its magnitude, by its index in the column."""
    if stored is None or not 0 <= group.start < group.end <= len(stored.magnitude):
        return []
    spreads = (stored.values["max"] - stored.values["min"]) / stored.magnitude
    return list(enumerate(spreads[group.start : group.end].tolist(), start=group.start))
