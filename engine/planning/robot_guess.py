"""Which shipped robot a dataset is of, which map leads from it, and what to type next."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from millrace.embodiments import (
    VECTORS,
    EmbodimentMap,
    Message,
    Remedy,
    Robot,
    Setting,
    load_map,
    load_robot,
    map_names,
    robot_names,
)
from millrace.embodiments.matching import normalize_name, normalize_names
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.planning.joint_columns import ColumnMisfit, match_columns
from millrace.engine.planning.next_step import draft_commands, is_trainable, shipped_command, validate_command
from millrace.engine.planning.vector_columns import find_vectors
from millrace.engine.sources import SourceDataset

MAX_LISTED = 4
MAX_NEAR = 2

Confidence = Literal["certain", "likely", "weak", "none"]
NAME_A_MAP = Remedy("name a map, ", Setting("map", "NAME"))


@dataclass(frozen=True)
class RobotGuess:
    """A shipped robot and why, or None and why not.

    confidence: "certain" where every joint is found by name, no name is left over, and other robots that fit
    are parts of this one; "likely" where only the last two fail; "weak" where some names say nothing.
    maps: shipped maps that start from it. commands: what to type next, one after the other.
    """

    name: str | None
    reason: str
    maps: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    confidence: Confidence = "none"


@dataclass(frozen=True)
class MapGuess:
    """The map that `convert` takes where none is named, and why; None: the dataset is of the target robot itself."""

    map: str | None
    reason: str


@dataclass(frozen=True)
class _Fit:
    """How a dataset holds a robot's joints.

    width: of its state columns. strangers: names in its columns that are no joints of the robot.
    """

    robot: Robot
    width: int
    columns: tuple[str, ...]
    anonymous: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def joints(self) -> set[str]:
        return {joint for vector in VECTORS for joint in self.robot.layout(vector).joints}


def guess_robot(dataset: SourceDataset, source: str | None = None) -> RobotGuess:
    """The robot whose joints the dataset's columns hold: by name before by position, the largest of several.

    source: what the user calls the dataset, for the commands.
    """
    typed = source or dataset.address
    robots, maps = load_shipped()
    tried = {robot.name: _fit(robot, dataset) for robot in robots}
    fits = [fit for fit in tried.values() if isinstance(fit, _Fit)]
    if not fits:
        misfits = {name: misfit for name, misfit in tried.items() if isinstance(misfit, str)}
        reason = f"no shipped robot fits{_describe_nearest(dataset, misfits)}"
        if is_trainable(dataset):
            return RobotGuess(None, reason, commands=(validate_command(typed),))
        try:
            find_vectors(dataset)
        except DatasetError as error:
            return RobotGuess(None, f"{reason}, and none can be drafted: {error}")
        return RobotGuess(None, reason, commands=draft_commands(dataset, typed))
    claimed = {fit.robot.name for fit in fits if fit.robot.is_called(dataset.robot_type)}
    best = max(fits, key=lambda fit: (not fit.anonymous, fit.robot.name in claimed, len(fit.joints), fit.robot.name))
    rivals = [
        fit
        for fit in fits
        if fit is not best
        and bool(fit.anonymous) == bool(best.anonymous)
        and (best.anonymous or not fit.joints < best.joints)
        # SO-100, SO-101 and Koch have the same joints: where info.json says which, that is which.
        and not (best.robot.name in claimed and fit.robot.name not in claimed and fit.joints == best.joints)
    ]
    from_best = tuple(embodiment_map for embodiment_map in maps if embodiment_map.source == best.robot)
    convert = shipped_command(dataset, typed, best.robot, _recommend_map(from_best))
    return RobotGuess(
        name=best.robot.name,
        reason=_reason(best, [fit.robot.name for fit in rivals]),
        maps=tuple(embodiment_map.name for embodiment_map in from_best),
        commands=(validate_command(typed) if is_trainable(dataset) else convert,),
        confidence="weak" if best.anonymous else "likely" if rivals or best.strangers else "certain",
    )


def _describe_nearest(dataset: SourceDataset, misfits: Mapping[str, str]) -> str:
    """The shipped robots that share most joint names with the dataset, and what keeps each from fitting."""
    columns = (feature.names or () for feature in dataset.features.values() if feature.is_numbers)
    theirs = {normalize_name(name) for names in columns for name in names}
    shared = {
        robot.name: len(theirs & {normalize_name(joint) for group in robot.groups.values() for joint in group.joints})
        for robot in load_shipped()[0]
    }
    near = [name for name in sorted(misfits, key=lambda name: -shared[name]) if shared[name]][:MAX_NEAR]
    return f"; the nearest are {'; '.join(f'{name}: {misfits[name]}' for name in near)}" if near else ""


def guess_map(dataset: SourceDataset, robot: str | None = None, source: str | None = None) -> MapGuess:
    """The one shipped map that can be meant where none is named.

    Args:
        dataset: The source.
        robot: The target, a shipped robot or a robot file; None: whatever the only map leads to.
        source: What the user calls the dataset.

    Raises:
        RecipeError: it is not certain which robot the dataset is of, or there is no map or several; lists them.
    """
    target = None if robot is None else load_robot(robot)
    if target is not None and isinstance(_fit(target, dataset), _Fit):
        return MapGuess(None, f"the dataset is of '{target.name}' itself")
    guess = guess_robot(dataset, source)
    if guess.name is None:
        steps = " and then ".join(f"`{command}`" for command in guess.commands)
        advice = (", so that no map leads from it. ", Remedy(f"Draft a robot file: {steps}")) if steps else ()
        raise RecipeError(f"{dataset.address}: {guess.reason}", *advice)
    if guess.confidence != "certain":
        choice = ", ".join(guess.maps) or Message("none; take ", Setting("robot", guess.name))
        uncertain = f", for its robot is not certain ({guess.reason}). Maps from '{guess.name}': "
        raise RecipeError(f"{dataset.address}: ", NAME_A_MAP, uncertain, choice, got=guess.name, known=guess.maps)
    _, maps = load_shipped()
    found = [known.name for known in maps if known.name in guess.maps and target in (None, known.target)]
    if not found and not guess.maps:
        problem = f"{dataset.address}: no map leads from '{guess.name}', its robot ({guess.reason}): "
        raise RecipeError(problem, Remedy(Setting("robot", guess.name), " keeps its joints"), got=guess.name)
    there = "" if target is None else f" to '{target.name}'"
    if len(found) == 1:
        return MapGuess(found.pop(), f"{guess.reason}; no other map leads from '{guess.name}'{there}")
    problem = f"several maps lead from '{guess.name}'{there}" if found else f"no map leads from '{guess.name}'{there}"
    known = found or guess.maps
    problem = f", for {problem}: {', '.join(known) or 'none'}"
    raise RecipeError(f"{dataset.address}: ", NAME_A_MAP, problem, got=guess.name, known=tuple(known))


@cache
def load_shipped() -> tuple[tuple[Robot, ...], tuple[EmbodimentMap, ...]]:
    """All robots and maps that ship."""
    return tuple(map(load_robot, robot_names())), tuple(map(load_map, map_names()))


def _fit(robot: Robot, dataset: SourceDataset) -> _Fit | str:
    """How the dataset holds the robot's joints, or why it does not."""
    try:
        matched = [match_columns(dataset, robot, vector) for vector in VECTORS]
    except ColumnMisfit as misfit:
        return misfit.short
    how = {column: by for vector in matched for column, by in zip(vector.columns, vector.by, strict=True)}
    groups = robot.groups.values()
    known = {name for group in groups for joint in group.joints for name in normalize_names(joint, robot.aliases)}
    listed = {names for lists in robot.column_names.values() for names in lists}
    by_name = [dataset.features[column] for column, by in how.items() if by == "name"]
    named = [name for feature in by_name if feature.stated_names not in listed for name in feature.names or ()]
    return _Fit(
        robot=robot,
        width=sum(matched[0].widths),
        columns=tuple(how),
        anonymous=tuple(column for column, by in how.items() if by == "position"),
        strangers=tuple(dict.fromkeys(name for name in named if normalize_name(name) not in known)),
    )


def _reason(fit: _Fit, others: list[str]) -> str:
    name, anonymous = fit.robot.name, fit.anonymous
    if not anonymous:
        text = f"all {len(fit.joints)} joints of '{name}' by name in {_join(fit.columns)}"
    elif len(anonymous) < len(fit.columns):
        text = f"all joints of '{name}', by name but for {_join(anonymous)}, where names are anonymous"
    else:
        text = f"width {fit.width} fits '{name}', names are anonymous"
    if fit.strangers:
        text += f"; {_join(fit.strangers)} there are no joints of it"
    return f"{text}; {', '.join(others)} would fit as well" if others else text


def _join(names: tuple[str, ...]) -> str:
    *most, last = names if len(names) <= MAX_LISTED else (*names[:MAX_LISTED], f"{len(names) - MAX_LISTED} others")
    return f"{', '.join(most)} and {last}" if most else last


def _recommend_map(maps: tuple[EmbodimentMap, ...]) -> EmbodimentMap | None:
    """The first map, but a rescaled one before one that copies values of another range."""
    return max(maps, key=lambda known: known.name.endswith("_rescaled"), default=None)
