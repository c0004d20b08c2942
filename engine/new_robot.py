"""A first robot file for a dataset of a robot that does not ship, for its owner to look through."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import yaml

from embodiments.matching import spelling
from embodiments.robot import Vector
from engine.errors import DatasetError
from engine.planning.joint_columns import width_of
from engine.sources import Feature, SourceDataset
from engine.text import printable

HAND = {"gripper", "hand", "finger", "thumb", "index", "middle", "ring", "pinky", "little"}
LEG = {"hip", "knee", "ankle"}

TEXT = """\
# A robot, drafted from {root}. Look through the lines that say CHECK, then:
#
#     millrace convert {root} OUT --robot THIS_FILE
#
# Joints are found in datasets by these names, or by the names under `aliases`.
name: {name}
description: {description}

groups:
  # What a policy sees and moves as one; CHECK where one ends and the next begins.
  # unit: of every joint of the group. rest: in that unit, where nothing drives a joint; one for all, or a list.
  # action: `relative` learns the difference from the state, as is usual for arms.
{groups}
# The groups that each column of the dataset holds, in its order; what two columns hold is read from the smaller.
state:
{state}
action:
{action}
{aliases}cameras: {cameras}
horizon: 16  # steps of an action chunk
"""
GROUP = """\
  {name}:
    joints: {joints}{anonymous}
    unit: rad  # CHECK
    rest: 0.0
    action: absolute  # CHECK
"""


@dataclass
class _Draft:
    """Groups by name, each with its joints; columns of each vector with their groups; other names of joints."""

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    columns: dict[Vector, dict[str, list[str]]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    anonymous: set[str] = field(default_factory=set)


def draft_robot(dataset: SourceDataset) -> str:
    """The text of a robot file that fits a dataset.

    Raises:
        DatasetError: no column holds a state, or none an action.
    """
    draft = _Draft()
    _add_vector(draft, "state", _columns(dataset, "observation.state", "observation."))
    _add_vector(draft, "action", _columns(dataset, "action", "action."))
    return TEXT.format(
        root=printable(dataset.root),
        name=_name(dataset),
        description=_flow(f"{dataset.robot_type or 'robot'}, as {dataset.root.resolve().name} holds it"),
        groups="".join(_group(draft, name) for name in draft.groups),
        state=_lines(draft.columns["state"]),
        action=_lines(draft.columns["action"]),
        aliases=f"aliases:\n{_lines(draft.aliases)}\n" if draft.aliases else "",
        cameras=_flow(list(dataset.cameras)),
    )


def _name(dataset: SourceDataset) -> str:
    """Of the robot, as far as the dataset tells."""
    text = dataset.robot_type or dataset.root.resolve().name
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-") or "robot"


def _columns(dataset: SourceDataset, whole: str, prefix: str) -> Mapping[str, Feature]:
    """The column of that name, or all those of parts of it."""
    numbers = {
        name: feature
        for name, feature in dataset.features.items()
        if not feature.is_camera and len(feature.shape) <= 1 and feature.dtype.startswith("float")
    }
    found = {name: feature for name, feature in numbers.items() if name.startswith(prefix)}
    found = {whole: numbers[whole]} if whole in numbers else found
    if not found:
        known = ", ".join(dataset.features)
        missing = f"neither a column '{whole}' nor any '{prefix}*' of numbers"
        raise DatasetError(f"{dataset.root} has {missing}. Known: {known}")
    return found


def _add_vector(draft: _Draft, vector: Vector, columns: Mapping[str, Feature]) -> None:
    taken: set[str] = set()
    draft.columns[vector] = {}
    for column, feature in columns.items():
        part = re.sub(r"\W+", "_", column.split(".")[-1])
        parts = [set(other.names) for other in columns.values() if other.names and other is not feature]
        joints = _joints(draft, _less(feature, parts), part, taken)
        taken.update(map(spelling, joints))
        is_anonymous = not feature.names
        draft.columns[vector][column] = [
            _group_name(draft, tuple(run), label, is_anonymous=is_anonymous) for label, run in _runs(joints, part)
        ]


def _less(feature: Feature, others: Sequence[set[str]]) -> Feature:
    """A column of the whole body without the joints that have smaller columns of their own."""
    names = feature.names or ()
    own = {name for other in others if other < set(names) for name in other}
    left = tuple(name for name in names if name not in own)
    return replace(feature, names=left, shape=(len(left),)) if own and left else feature


def _joints(draft: _Draft, feature: Feature, part: str, taken: set[str]) -> list[str]:
    """Names of a column's joints that no other column of the vector has."""
    names = feature.names if feature.names and len(feature.names) == width_of(feature) else None
    if names is None:
        part = "joint" if part in ("state", "action") else part
        return [f"{part}_{number}" for number in range(width_of(feature))]
    joints = [f"{part}_{name}" if spelling(name) in taken else name for name in names]
    draft.aliases.update({joint: [name] for joint, name in zip(joints, names, strict=True) if joint != name})
    return joints


def _runs(joints: Sequence[str], part: str) -> Iterator[tuple[str, Iterable[str]]]:
    """Neighbouring joints of the same limb."""
    return groupby(joints, lambda joint: _limb(joint, part))


def _limb(joint: str, part: str) -> str:
    """The limb that a joint's name tells: left_elbow and kLeftElbow are of the left arm."""
    words = {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", joint)}
    side = next((f"{side}_" for side in ("left", "right") if side in words), "")
    kind = "hand" if words & HAND else "leg" if words & LEG else "arm" if side else ""
    return f"{side}{kind}" if kind else "body" if part in ("state", "action") else part


def _group_name(draft: _Draft, joints: tuple[str, ...], label: str, *, is_anonymous: bool) -> str:
    """The group of these joints, drafted if there is none yet."""
    number = 1
    while (name := label if number == 1 else f"{label}_{number}") in draft.groups:
        if draft.groups[name] == joints:
            return name
        number += 1
    draft.groups[name] = joints
    if is_anonymous:
        draft.anonymous.add(name)
    return name


def _group(draft: _Draft, name: str) -> str:
    anonymous = "  # CHECK: the dataset names none; in its order" if name in draft.anonymous else ""
    joints = textwrap.fill(_flow(list(draft.groups[name])), 100, subsequent_indent=" " * 14, break_long_words=False)
    return GROUP.format(name=name, joints=joints, anonymous=anonymous)


def _lines(entries: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"  {_flow(key)}: {_flow(list(values))}" for key, values in entries.items())


def _flow(value: object) -> str:
    """A value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
