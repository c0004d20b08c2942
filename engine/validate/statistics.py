"""Statistics against the rows and the robot, and what GR00T's normalisation will make of them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from millrace.embodiments import VECTORS, MillraceError, load_robot, robot_names
from millrace.engine.dataset.groot_stats import RelativeGroup, compute_statistics, float32_moments, tails_bytes
from millrace.engine.dataset.limits import describe_beyond, find_beyond
from millrace.engine.dataset.metadata import DEFAULT_COLUMNS, RELATIVE_STATS, STATS, JointSlice, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import RELEASES
from millrace.engine.dataset.stats import Statistics
from millrace.engine.dataset.stored_statistics import MEAN_DRIFT, lies_in_columns, relative_group
from millrace.engine.text import join_names
from millrace.engine.validate.scratch_space import cannot_keep, check_scratch_space
from millrace.engine.validate.training import find_trained_groups

# GR00T adds up float32 in float32: its mean and std of many rows may be off by this part of max - min.
MOMENTS_TOLERANCE = 1e-3
MOMENTS = ("mean", "std")
# In rad, m or a share, as a part of the larger of 1 and the magnitude; sensors resolve little more.
TINY_RANGE = 1e-3
# Position and rot6d (gr00t/data/stats.py): the difference of poses is not that of their numbers.
POSE_WIDTH = 9
# Of the released models'.
LONGEST_HORIZON = max(release.limits.max_horizon for release in RELEASES)


def value_problems(
    metadata: Metadata,
    stats: Mapping[str, Statistics],
    relative: Mapping[str, Statistics],
    *,
    scratch: Path,
    num_processes: int,
    on_episode: Callable[[int], None],
) -> Iterator[Problem]:
    """The statistics computed again, by the code that the converter uses; all rows must be sound.

    Raises:
        NoScratchSpace: the scratch folder has no room for a copy of the rows.
    """
    groups = _recomputable(metadata, relative)
    if not (stats or groups):
        return
    paths = [metadata.root / metadata.data_path(index) for index in metadata.indices.tolist()]
    horizon = next((len(relative[name].mean) for name in groups), 1)
    num_columns = sum(metadata.info.features[name].width for name in stats)
    num_columns += horizon * sum(group.num_joints for group in groups.values())
    check_scratch_space(
        scratch, tails_bytes(metadata.num_episodes, metadata.num_frames, num_columns), metadata.num_frames
    )
    try:
        found, relative_found = compute_statistics(
            paths,
            list(stats),
            groups,
            horizon=horizon,
            scratch=scratch,
            num_processes=num_processes,
            on_episode=on_episode,
        )
        for name, entry in stats.items():
            yield from _difference(entry, found[name], STATS, name, paths)
    except MillraceError as error:
        yield Problem.of("stats-values", STATS, f"cannot be compared with the rows: {error}")
        return
    except OSError as error:  # reading the rows raises MillraceError
        raise cannot_keep(scratch, error) from error
    for name, right in relative_found.items():
        yield from _difference(relative[name], right, RELATIVE_STATS, name)


def _recomputable(metadata: Metadata, relative: Mapping[str, Statistics]) -> dict[str, RelativeGroup]:
    """Joint groups whose slices fit their columns, where chunks are H steps in a row from the state on."""
    action = None if metadata.config is None else metadata.config.modalities.get("action")
    is_plain = action is None or action.delta_indices == tuple(range(len(action.delta_indices)))
    if metadata.modality is None or not is_plain:
        return {}
    groups: dict[str, RelativeGroup] = {}
    for name, stored in relative.items():
        group = relative_group(metadata, metadata.modality, name)
        num_steps, width = stored.mean.shape
        is_short = num_steps <= LONGEST_HORIZON
        if isinstance(group, RelativeGroup) and is_short and not _is_pose(metadata, name, width):
            groups[name] = group
    return {name: group for name, group in groups.items() if lies_in_columns(metadata, group)}


def _is_pose(metadata: Metadata, name: str, width: int) -> bool:
    if metadata.config is not None and name in metadata.config.relative:
        return metadata.config.relative[name].type == "EEF"
    return width == POSE_WIDTH or "eef" in name.lower()


def _difference(
    stored: Statistics, right: Statistics, name: str, key: str, paths: Sequence[Path] = ()
) -> Iterator[Problem]:
    """The first number that is not the rows'; paths: of the rows, where GR00T's own sums can be repeated."""
    exact = Statistics(**{stat: np.asarray(values, np.float64) for stat, values in vars(right).items()})
    spread, slack = exact.max - exact.min, exact.slack
    moments = slack + MOMENTS_TOLERANCE * spread
    # Of what never changes GR00T's own mean drifts with the number of rows, and its std with that.
    drift = np.where(spread <= slack, MEAN_DRIFT * exact.magnitude, 0.0) if not paths else 0.0
    off = {stat: np.abs(values - vars(exact)[stat]) for stat, values in vars(stored).items()}
    is_off = {stat: size > (moments + drift if stat in MOMENTS else slack) for stat, size in off.items()}
    if paths and any(is_off[stat].any() for stat in MOMENTS):
        for stat, rounded in zip(MOMENTS, float32_moments(paths, key), strict=True):
            is_off[stat] &= np.abs(vars(stored)[stat] - rounded) > moments
    for stat, places in is_off.items():
        for place in map(tuple, np.argwhere(places)[:1].tolist()):
            message = (
                f"{stat} of {key!r} is {vars(stored)[stat][place]:g} at {list(place)}, but the rows give "
                f"{vars(exact)[stat][place]:g}: stale or damaged. Delete the file, and GR00T computes it again"
            )
            yield Problem.of("stats-values", name, message)
            return


def limit_problems(metadata: Metadata, stats: Mapping[str, Statistics]) -> Iterator[Problem]:
    """Values that are impossible for the robot, where it is one that ships."""
    if metadata.info.robot_type not in robot_names():
        return
    robot = load_robot(metadata.info.robot_type)
    for vector in VECTORS:
        layout, entry = robot.layout(vector), stats.get(DEFAULT_COLUMNS[vector])
        if entry is None or entry.min.shape != (layout.width,):
            continue
        if beyond := find_beyond(entry.min, entry.max, layout.limits, layout.joints):
            yield Problem.of("beyond-limits", STATS, f"{describe_beyond(vector, beyond)}; limits of '{robot.name}'")


def spread_problems(
    metadata: Metadata, stats: Mapping[str, Statistics], at_rest: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    """Trained values that never change, or hardly, in one line each.

    at_rest: joints by modality that the maps of the conversion leave at rest, as millrace.json names them.
    """
    constant: list[str] = []
    resting: list[str] = []
    tiny: list[str] = []
    for modality, groups in find_trained_groups(metadata).items():
        for name, group in groups.items():
            for index, spread in _spreads(stats.get(group.column(modality)), group):
                label = (
                    metadata.info.features[group.column(modality)].value_name(index) or f"{name}[{index - group.start}]"
                )
                if spread == 0:
                    found = resting if label in at_rest.get(modality, ()) else constant
                    found.append(f"{modality} {label}")
                elif spread < TINY_RANGE:
                    tiny.append(f"{modality} {label}")
    kinds = (
        ("stats-at-rest", resting, "rest, as no source of the conversion drives them"),
        ("stats-constant", constant, "never change, which GR00T makes 0"),
        ("stats-tiny-range", tiny, "change by next to nothing, which GR00T scales to [-1, 1]"),
    )
    for code, labels, what in kinds:
        if labels:
            yield Problem.of(code, STATS, f"{len(labels)} trained values {what}: {join_names(labels)}")


def _spreads(stored: Statistics | None, group: JointSlice) -> list[tuple[int, float]]:
    """max - min of each value of a group, as a part of its magnitude, by its index in the column."""
    if stored is None or not 0 <= group.start < group.end <= len(stored.magnitude):
        return []
    spreads = (stored.max - stored.min) / np.maximum(1.0, stored.magnitude)
    return list(enumerate(spreads[group.start : group.end].tolist(), start=group.start))
