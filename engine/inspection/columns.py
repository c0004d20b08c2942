"""Which columns of a dataset are joints, and which action drives which state."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from millrace.embodiments import Robot
from millrace.embodiments.matching import normalize_name
from millrace.engine.layout import ACTION, STATE
from millrace.engine.planning.binding import BOOKKEEPING
from millrace.engine.sources import Feature

NUMBERED = ("timestamp", "frame_index", "task_index")
FLOATS = ("float", "double", "halffloat")


@dataclass(frozen=True)
class Pair:
    """One joint as it is commanded and as it is observed: places in two columns."""

    name: str
    action: tuple[str, int]
    state: tuple[str, int]


@dataclass(frozen=True)
class Columns:
    """The columns of each episode that are inspected.

    floats: columns of real numbers, and of numbers of any type that are joints, each checked.
    numbered: LeRobot's own columns, those that exist.
    motion: the columns whose joints tell whether the robot moves. pairs: joints both commanded and observed.
    """

    floats: Mapping[str, Feature]
    numbered: tuple[str, ...]
    motion: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column to read."""
        return tuple(self.widths)

    @cached_property
    def widths(self) -> dict[str, int]:
        """Values a row of each column."""
        return {name: feature.num_values for name, feature in self.floats.items()} | dict.fromkeys(self.numbered, 1)

    def joints(self, name: str) -> list[str]:
        """Names of a column's values, to print."""
        return value_names(name, self.floats[name]) if name in self.floats else [name]


def choose_columns(features: Mapping[str, Feature], robot: Robot | None) -> Columns:
    """The columns of a dataset; a robot, where it is known, tells which of them are its state."""
    floats = {name: feature for name, feature in features.items() if is_vector(name, feature)}
    observed = [name for name in floats if name.startswith("observation.")]
    commanded = [name for name in floats if name == ACTION or name.startswith(f"{ACTION}.")]
    motion = [STATE] if STATE in observed else observed or commanded
    if robot is not None:
        found = (robot.find_column(column, floats) for column in robot.layout("state").columns)
        motion = [name for name in found if name is not None]
    return Columns(
        floats=floats,
        numbered=tuple(name for name in NUMBERED if name in features),
        motion=tuple(motion),
        pairs=tuple(pair for name in commanded for pair in _pairs(name, floats)),
    )


def is_vector(name: str, feature: Feature) -> bool:
    """Whether a column holds real numbers, or numbers of any type that observe or command joints."""
    if name in BOOKKEEPING or not feature.is_numbers:
        return False
    is_vector_name = name.startswith(("observation.", f"{ACTION}.")) or name == ACTION
    return is_vector_name or feature.dtype.startswith(FLOATS)


def is_joints(name: str) -> bool:
    """Whether a column is an observation or an action, by its name."""
    return name.startswith(("observation.", ACTION))


def value_names(name: str, feature: Feature) -> list[str]:
    """Names of a column's values, to print."""
    num_values = feature.num_values
    if feature.names and len(feature.names) == num_values:
        return list(feature.names)
    return [name] if num_values == 1 else [f"value {number}" for number in range(num_values)]


def _pairs(action: str, floats: Mapping[str, Feature]) -> list[Pair]:
    """The joints of an action column in its state column: action.left_arm in observation.left_arm."""
    part = action.removeprefix(ACTION)
    state = next((name for name in (f"observation{part}", f"{STATE}{part}", STATE) if name in floats), None)
    if state is None:
        return []
    names, theirs = value_names(action, floats[action]), value_names(state, floats[state])
    if not floats[action].names or not floats[state].names:
        names, theirs = (names, names) if len(names) == len(theirs) else (names, [])
    places = {normalize_name(name): place for place, name in enumerate(theirs)}
    return [
        Pair(name, (action, place), (state, places[normalize_name(name)]))
        for place, name in enumerate(names)
        if normalize_name(name) in places
    ]
