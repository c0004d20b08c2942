"""Which columns of a dataset hold its robot's state and action, under whatever usual name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace.embodiments import VECTORS, Remedy, Vector
from millrace.embodiments.robot import COMMON_ALIASES
from millrace.engine.errors import DatasetError
from millrace.engine.layout import CAMERA_PREFIX
from millrace.engine.planning.binding import BOOKKEEPING
from millrace.engine.sources import Feature, SourceDataset
from millrace.engine.text import join_names, printable

# One column for all of a vector, else columns of its parts below the first of these prefixes that has any.
WHOLE: dict[Vector, str] = {"state": "observation.state", "action": "action"}
PARTS: dict[Vector, tuple[str, ...]] = {
    "state": (
        "observation.state.",
        "observation.states.",
        "observation.",
        "observation/state/",
        "observation/",
        "observations.",
        "observations/",
        "states.",
        "state.",
    ),
    "action": ("action.", "actions.", "action/", "actions/"),
}
# Else columns that end so: joint.state, eef_pose_action.
ENDINGS: dict[Vector, re.Pattern[str]] = {
    "state": re.compile(r"[._/](states?|qpos)$"),
    "action": re.compile(r"[._/]actions?$"),
}
# A column as wide as this holds no joints: a point cloud, an embedding.
MAX_JOINTS = 512


@dataclass(frozen=True)
class PartColumn:
    """A column of joints; part: which part of the robot its name tells, "" for all of it."""

    name: str
    feature: Feature
    part: str


def find_vectors(dataset: SourceDataset) -> dict[Vector, tuple[PartColumn, ...]]:
    """The columns of the state and of the action.

    Raises:
        DatasetError: no column holds a state, or none an action.
    """
    numbers = {name: feature for name, feature in dataset.features.items() if holds_joints(name, feature)}
    found: dict[Vector, tuple[PartColumn, ...]] = {}
    for vector in VECTORS:
        found[vector] = tuple(_find(vector, numbers))
        if not found[vector]:
            missing = (
                f"neither a column '{WHOLE[vector]}' nor any '{WHOLE[vector].removesuffix('.state')}.*' of numbers"
            )
            known = printable(join_names(list(numbers), 20)) or "none"
            raise DatasetError(
                f"{dataset.address} has {missing}, in which a robot's {vector} is looked for. Known: {known}. ",
                Remedy(
                    f"Write a robot file by hand that names the columns under `{vector}:`, or rename them in "
                    "meta/info.json"
                ),
                expected=WHOLE[vector],
                known=tuple(numbers),
            )
    return found


def unused_columns(dataset: SourceDataset, vectors: Mapping[Vector, Iterable[PartColumn]]) -> list[str]:
    """Columns of numbers that no vector takes."""
    used = {column.name for columns in vectors.values() for column in columns}
    return [
        name
        for name, feature in dataset.features.items()
        if feature.is_numbers and name not in used and name not in BOOKKEEPING
    ]


def holds_joints(name: str, feature: Feature) -> bool:
    """Whether a column may hold joints: numbers or truth values, of no bookkeeping."""
    own_name = re.split(r"[./]", name)[-1]
    if name.startswith(CAMERA_PREFIX):  # such as whether there is a picture
        return False
    return feature.is_numbers and feature.num_values <= MAX_JOINTS and own_name not in BOOKKEEPING


def _find(vector: Vector, numbers: Mapping[str, Feature]) -> Iterable[PartColumn]:
    whole = next((name for name in (WHOLE[vector], *COMMON_ALIASES[WHOLE[vector]]) if name in numbers), None)
    if whole is not None:
        return [PartColumn(whole, numbers[whole], "")]
    for prefix in PARTS[vector]:
        if parts := [name for name in numbers if name.startswith(prefix)]:
            return [PartColumn(name, numbers[name], group_name(name.removeprefix(prefix))) for name in parts]
    ending = ENDINGS[vector]
    return [
        PartColumn(name, numbers[name], group_name(ending.sub("", name))) for name in numbers if ending.search(name)
    ]


def group_name(text: str) -> str:
    """A text as the name of a group: letters, digits and underscores, no digit first."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")
    return name if re.match(r"[A-Za-z]", name) else f"part_{name}".rstrip("_")
