"""Read stats.json and relative_stats.json as arrays, and check content and shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.groot_stats import RelativeGroup
from millrace.engine.dataset.json_files import JsonObject, Unreadable, is_file, read_json
from millrace.engine.dataset.metadata import RELATIVE_STATS, STATS, Metadata, ModalityFile
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.stats import Statistics
from millrace.engine.text import join_names

NAMES = tuple(Statistics.__dataclass_fields__)
# Of the largest magnitude: GR00T's mean, summed up in float32, may lie this far outside of [min, max].
MEAN_DRIFT = 0.1

Floats = NDArray[np.float64]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class StoredFile:
    """A statistics file's sound entries, and what is wrong with the others.

    content: the file as JSON holds it; empty where there is none.
    """

    entries: Mapping[str, Statistics]
    problems: tuple[Problem, ...]
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprints(self) -> Mapping[str, Any] | None:
        """Those that newer releases of GR00T keep beside the entries; None where the file has none."""
        stored = self.content.get(FINGERPRINTS)
        return stored if isinstance(stored, dict) else None

    @property
    def horizon(self) -> int | None:
        """Steps of the relative groups, H; None where there are none."""
        return next((len(stored.mean) for stored in self.entries.values()), None)


def read_stats(metadata: Metadata) -> StoredFile:
    """Every float feature's statistics."""
    widths: Shapes = {name: (feature.width,) for name, feature in metadata.info.features.items() if feature.is_float}
    return _read(metadata.root, STATS, lambda content: (widths, []))


def read_relative_stats(metadata: Metadata) -> StoredFile:
    """Those of every group in relative_stats.json, and of those that the config makes RELATIVE."""
    modality = metadata.modality
    due = () if metadata.config is None else tuple(metadata.config.relative)
    if modality is None or not (due or is_file(metadata.root / RELATIVE_STATS)):
        return StoredFile({}, ())
    return _read(metadata.root, RELATIVE_STATS, lambda content: _relative_shapes(metadata, modality, content, due))


def _read(root: Path, name: str, shapes: Callable[[dict[str, Any]], tuple[Shapes, list[Problem]]]) -> StoredFile:
    if not is_file(root / name):
        message = "is missing; GR00T would compute it at the start of training, on one machine and slowly"
        return StoredFile({}, (Problem.of("stats-missing", name, message),))
    try:
        content = read_json(root, name, JsonObject).root
    except Unreadable as error:
        return StoredFile({}, (error.problem,))
    due, problems = shapes(content)
    entries: dict[str, Statistics] = {}
    for key, shape in due.items():
        entry = _entry(content.get(key), name, key, shape)
        if isinstance(entry, Statistics):
            entries[key] = entry
        else:
            problems.append(entry)
    return StoredFile(entries, tuple(problems), content)


def _entry(content: object, name: str, key: str, shape: tuple[int, ...]) -> Statistics | Problem:
    """A feature's six statistics, or the first thing that is wrong with them."""
    known = content if isinstance(content, dict) else {}
    missing = [stat for stat in NAMES if stat not in known]
    if missing:
        what = f"{key!r} lacks {', '.join(missing)}" if known else f"lacks {key!r}"
        return Problem.of("stats-complete", name, f"{what}: delete the file, and GR00T computes it again")
    values = {stat: to_array(known[stat]) for stat in NAMES}
    found = {stat: None if array is None else array.shape for stat, array in values.items()}
    wrong = [stat for stat, size in found.items() if size != shape]
    if wrong:
        size = found[wrong[0]]
        size_text = "no numbers" if size is None else f"shape {list(size)}"
        return Problem.of("stats-shape", name, f"{wrong[0]} of {key!r} has {size_text}, expected {list(shape)}")
    arrays = {stat: array for stat, array in values.items() if array is not None}
    infinite = [stat for stat, array in arrays.items() if not np.isfinite(array).all()]
    if infinite:
        return Problem.of("json-finite", name, f"{infinite[0]} of {key!r} holds a number too large for a float")
    stored = Statistics(**arrays)
    disorder = _disorder(stored)
    return Problem.of("stats-order", name, f"{key!r} has {disorder}") if disorder else stored


def to_array(value: object) -> Floats | None:
    """Nested lists of JSON numbers, or of truth values as LeRobot writes them, as an array; None for anything else."""
    try:
        array = np.array(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.float64) if array.dtype.kind in "fiub" else None


def _disorder(stored: Statistics) -> str | None:
    values = vars(stored)
    for low, high in (("min", "q01"), ("q01", "q99"), ("q99", "max"), ("min", "mean"), ("mean", "max")):
        slack = stored.slack + (MEAN_DRIFT * stored.magnitude if "mean" in (low, high) else 0.0)
        bad = np.argwhere(values[low] > values[high] + slack)
        if len(bad):
            place = tuple(bad[0].tolist())
            return f"{low} {values[low][place]:g} above {high} {values[high][place]:g} at {list(place)}"
    bad = np.argwhere(values["std"] < 0)
    return f"a negative std at {bad[0].tolist()}" if len(bad) else None


def _relative_shapes(
    metadata: Metadata, modality: ModalityFile, content: dict[str, Any], relative: tuple[str, ...]
) -> tuple[Shapes, list[Problem]]:
    """The shape (H, D) due for each group: H of the config, or else of most groups."""
    problems: list[Problem] = []
    missing = [name for name in relative if name not in content]
    if missing:
        message = f"lacks the RELATIVE groups {join_names(missing)}; GR00T would compute them at the start of training"
        problems.append(Problem.of("stats-missing", RELATIVE_STATS, message))
    horizons = {name: _horizon(entry) for name, entry in content.items() if name != FINGERPRINTS}
    known = [horizon for horizon in horizons.values() if horizon is not None]
    due = None if metadata.config is None else metadata.config.horizon
    due = due or max(known, key=known.count, default=1)
    shapes: Shapes = {}
    for name, horizon in horizons.items():
        group = relative_group(metadata, modality, name)
        if isinstance(group, Problem):
            problems.append(group)
        elif horizon is not None and horizon != due:
            message = f"{name!r} has {horizon} steps, expected {due}: GR00T keeps stale ones. Delete the file"
            problems.append(Problem.of("relative-horizon", RELATIVE_STATS, message))
        else:
            shapes[name] = (due, group.action.stop - group.action.start)
    return shapes, problems


def _horizon(entry: object) -> int | None:
    """The steps of an entry's mean, None where it is no matrix."""
    array = to_array(entry.get("mean")) if isinstance(entry, dict) else None
    return len(array) if array is not None and array.ndim == 2 else None


def relative_group(metadata: Metadata, modality: ModalityFile, name: str) -> RelativeGroup | Problem:
    """Where a relative group's action and state lie, or why it has none."""
    config = {} if metadata.config is None else metadata.config.relative
    reference = (config[name].state_key if name in config else None) or name
    if name not in modality.action or reference not in modality.state:
        known = join_names([group for group in modality.action if group in modality.state], 12)
        message = f"{name!r} is no action group with a state {reference!r}. Known: {known}"
        return Problem.of("relative-groups", RELATIVE_STATS, message)
    action, state = modality.action[name], modality.state[reference]
    if action.width != state.width:
        message = f"{name!r} has {action.width} action values, but {state.width} in the state {reference!r}"
        return Problem.of("relative-groups", RELATIVE_STATS, message)
    return RelativeGroup(
        slice(state.start, state.end), slice(action.start, action.end), state.column("state"), action.column("action")
    )


def lies_in_columns(metadata: Metadata, group: RelativeGroup) -> bool:
    """Whether a group's state and action lie within float columns of the dataset."""
    features = metadata.info.features
    places = ((group.state_column, group.state), (group.action_column, group.action))
    return all(
        column in features and features[column].is_float and 0 <= place.start < place.stop <= features[column].width
        for column, place in places
    )
