"""Match the columns of a source vector to the joints of a robot."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments.errors import JointMismatch
from millrace.embodiments.messages import Remedy


@dataclass(frozen=True, eq=False)
class Match:
    """The places of a robot's joints in a source vector.

    Args:
        gather: Column of each of the robot's joints, shape (num_joints,).
        by: "name", or "position" where the source names nothing, which the user is told.
    """

    gather: NDArray[np.int64]
    by: Literal["name", "position"]


def match_joints(
    names: Sequence[str] | None,
    joints: Sequence[str],
    *,
    width: int,
    aliases: Mapping[str, Sequence[str]],
    by_position: bool = True,
) -> Match:
    """Find a robot's joints in a source vector: by name, or by position where names say nothing.

    Names match exactly, else as `normalize_name` reduces them. Columns that are no joint of the robot are ignored if
    all of its joints are found.

    Args:
        names: The source's name of each column; None, none at all and counted ones (motor_0,
            motor_1, ...) say nothing.
        joints: The robot's joints, in its order.
        width: Columns of the source vector.
        aliases: Other names of a joint.
        by_position: Whether joints without names may be taken by position.

    Raises:
        JointMismatch: A joint is missing or named twice, the width is wrong, or only the position could tell.
    """
    if names and len(names) != width:
        raise _make_mismatch(f"{len(names)} names for a vector of {width}", names, joints)
    places = _Places.from_names(names or ())
    found = {joint: places.find(joint, aliases.get(joint, ())) for joint in joints}
    if doubles := [joint for joint, columns in found.items() if len(columns) > 1]:
        raise _make_mismatch(f"it names {', '.join(map(repr, map(normalize_name, doubles)))} twice", names, joints)
    missing = [joint for joint, columns in found.items() if not columns]
    if names and not missing:
        return Match(_check_distinct(found, names), "name")
    if names and not _are_anonymous(names):
        lacks = ", ".join(missing) if len(missing) < len(joints) else "every joint"
        raise _make_mismatch(f"it lacks {lacks}", names, joints)
    return _match_by_position(names, joints, width, is_allowed=by_position)


def _match_by_position(names: Sequence[str] | None, joints: Sequence[str], width: int, *, is_allowed: bool) -> Match:
    if width != len(joints):
        problem = f"by position, {width} columns cannot be {len(joints)} joints"
        raise _make_mismatch(problem, names, joints).about(got=width, expected=len(joints))
    if not is_allowed:
        raise _make_mismatch("it names no joints, and this robot's datasets come in more than one order", names, joints)
    return Match(np.arange(width, dtype=np.int64), "position")


def normalize_name(name: str) -> str:
    """Reduce a joint's name to what tells it from others.

    Case, underscores, Unitree's leading k, the URDF's "_joint", LeRobot's ".pos" and ".q" are removed:
    kLeftElbow, left_elbow, left_elbow_joint and left_elbow.pos are one joint.
    """
    name = re.sub(r"\Ak(?=[A-Z])", "", name.strip()).casefold()
    # Only the suffixes of positions: "left_waist.vel" is another quantity.
    return re.sub(r"(_joint)?(\.(pos|q))?\Z|_", "", name)


def normalize_names(joint: str, aliases: Mapping[str, Sequence[str]]) -> set[str]:
    """The normalized names of a joint: its own and its aliases."""
    return {normalize_name(name) for name in (joint, *aliases.get(joint, ()))}


Columns = frozenset[int]


@dataclass(frozen=True)
class _Places:
    """The columns with each name, as it is written and normalized."""

    written: Mapping[str, Columns]
    spelt: Mapping[str, Columns]

    @classmethod
    def from_names(cls, names: Sequence[str]) -> "_Places":
        return cls(_columns(names), _columns([normalize_name(name) for name in names]))

    def find(self, joint: str, aliases: Sequence[str]) -> Columns:
        """The columns that a joint can be: as written before normalized, by its own name before its aliases."""
        own, others = normalize_name(joint), map(normalize_name, aliases)
        tiers = (
            self.written.get(joint, Columns()),
            Columns().union(*(self.written.get(name, Columns()) for name in aliases)),
            self.spelt.get(own, Columns()),
            Columns().union(*(self.spelt.get(name, Columns()) for name in others)),
        )
        return next((columns for columns in tiers if columns), Columns())


def _columns(names: Sequence[str]) -> dict[str, Columns]:
    columns: dict[str, set[int]] = {}
    for column, name in enumerate(names):
        columns.setdefault(name, set()).add(column)
    return {name: Columns(found) for name, found in columns.items()}


def _check_distinct(found: Mapping[str, Columns], names: Sequence[str]) -> NDArray[np.int64]:
    """One column for each joint; two joints may not be read from one."""
    owner: dict[int, str] = {}
    for joint, (column,) in found.items():
        if owner.setdefault(column, joint) != joint:
            raise _make_mismatch(f"{names[column]!r} could be {owner[column]!r} or {joint!r}", names, found)
    return np.array(list(owner), dtype=np.int64)


def _are_anonymous(names: Sequence[str]) -> bool:
    parts = [re.fullmatch(r"(?P<prefix>.*?)(?P<number>\d{1,9})", name.strip()) for name in names]
    counted = [(part["prefix"], int(part["number"])) for part in parts if part]
    prefix, start = next(iter(counted), ("", 0))
    return counted == [(prefix, start + i) for i in range(len(names))]


def _make_mismatch(what: str, names: Sequence[str] | None, joints: Iterable[str]) -> JointMismatch:
    return JointMismatch(
        f"the source vector does not fit the robot: {what}. "
        f"Source: {', '.join(names) if names else 'no names'}. Robot: {', '.join(joints)}. ",
        Remedy(
            "Name the right robot, or give a robot file whose aliases hold these names; `millrace robots new` drafts "
            "one."
        ),
        known=tuple(names or ()),
    )
