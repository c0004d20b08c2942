"""Name the joints of each column: as the dataset does where its names are distinct, else by number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from millrace.embodiments.matching import normalize_name
from millrace.engine.planning.vector_columns import PartColumn


@dataclass(frozen=True)
class JointColumn:
    """A column with its joints.

    places: of each joint in the column. aliases: the dataset's names of joints that have others here.
    stated: what the dataset says in place of names, where the joints are taken by position.
    """

    name: str
    part: str
    joints: tuple[str, ...]
    places: tuple[int, ...]
    aliases: dict[str, str]
    stated: tuple[str, ...] = ()
    is_by_position: bool = False

    @property
    def check(self) -> str:
        """What the user is to check where the dataset's names are not used; else empty."""
        if self.stated:
            return "the dataset's names there do not tell its values apart; in its order"
        return "the dataset names none; in its order" if self.is_by_position else ""


def name_joints(columns: Sequence[PartColumn], *, by_name: bool) -> Iterator[JointColumn]:
    """Name the joints of a vector's columns, no name twice.

    A column of the whole body lacks the joints that have smaller columns of their own.

    Args:
        columns: The vector's columns.
        by_name: Whether the dataset's names are taken, where they tell joints apart.
    """
    named = {column.name: set(column.feature.names or ()) for column in columns if _has_distinct_names(column)}
    taken: set[str] = set()
    for column in columns:
        if by_name and column.name in named:
            joints = _joints_by_name(column, _joints_of_smaller_columns(column, named), taken)
        else:
            joints = _joints_by_position(column, taken)
        if joints.joints:
            taken.update(map(normalize_name, joints.joints))
            yield joints


def _joints_of_smaller_columns(column: PartColumn, named: Mapping[str, set[str]]) -> set[str]:
    """The joints of a column that smaller columns hold as well; numbers and axes mean other things in each column."""
    own = named[column.name]
    smaller = (names for names in named.values() if names < own)
    return {
        name for names in smaller for name in names if all(len(name) > 2 and not name[-1].isdigit() for name in names)
    }


def _has_distinct_names(column: PartColumn) -> bool:
    """Whether each value of a column has a distinct name."""
    names = column.feature.names or ()
    is_whole = len(names) == column.feature.num_values and all(name.strip() for name in names)
    return is_whole and len(set(names)) == len(names)


def _joints_by_name(column: PartColumn, elsewhere: set[str], taken: set[str]) -> JointColumn:
    own = [(place, name) for place, name in enumerate(column.feature.names or ()) if name not in elsewhere]
    reserved = taken | {normalize_name(name) for _, name in own}
    joints = [
        name if normalize_name(name) not in taken else _unique_name(f"{column.part or 'joint'}_{name}", reserved)
        for _, name in own
    ]
    return JointColumn(
        name=column.name,
        part=column.part,
        joints=tuple(joints),
        places=tuple(place for place, _ in own),
        aliases={joint: name for joint, (_, name) in zip(joints, own, strict=True) if joint != name},
    )


def _joints_by_position(column: PartColumn, taken: set[str]) -> JointColumn:
    used = set(taken)
    joints = []
    for name in _number_joints(column):
        joints.append(_unique_name(name, used))
        used.add(normalize_name(joints[-1]))
    return JointColumn(
        name=column.name,
        part=column.part,
        joints=tuple(joints),
        places=tuple(range(len(joints))),
        aliases={},
        stated=column.feature.stated_names,
        is_by_position=True,
    )


def _number_joints(column: PartColumn) -> list[str]:
    """The names of a column, where there is one for each value, else numbers."""
    names, width = column.feature.names or (), column.feature.num_values
    part = column.part or "joint"
    if width == 1 and column.part:
        return [column.part]
    if len(names) == width and len({name for name in names if name.strip()}) > 1:
        return [name if name.strip() else f"{part}_{place}" for place, name in enumerate(names)]
    return [f"{part}_{place}" for place in range(width)]


def _unique_name(name: str, taken: set[str]) -> str:
    return number_name(name, lambda free: normalize_name(free) in taken)


def number_name(name: str, is_taken: Callable[[str], bool]) -> str:
    """The name, with a number from 2 where it is taken."""
    return next(free for free in chain([name], (f"{name}_{number}" for number in count(2))) if not is_taken(free))
