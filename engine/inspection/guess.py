"""Which shipped robot a dataset is of, which map leads from it, and what to type next."""

import shlex
from dataclasses import dataclass
from functools import cache
from typing import Literal

from embodiments import EmbodimentMap, Robot, load_map, load_robot, map_names, robot_names
from embodiments.matching import spelling, spellings
from embodiments.robot import VECTORS
from engine.errors import RecipeError
from engine.planning.joint_columns import ColumnMisfit, match_columns
from engine.planning.recipe import Recipe
from engine.sources import SourceDataset

MAX_LISTED = 4

Confidence = Literal["certain", "likely", "weak", "none"]


@dataclass(frozen=True)
class RobotGuess:
    """A shipped robot and why, or None and why not.

    confidence: "certain" where every joint is found by name, no name is left over, and other robots that fit
    are parts of this one; "likely" where only the last two fail; "weak" where some names say nothing.
    maps: shipped maps that start from it. command: the conversion to try, None without a robot.
    """

    name: str | None
    reason: str
    maps: tuple[str, ...] = ()
    command: str | None = None
    confidence: Confidence = "none"


@dataclass(frozen=True)
class MapGuess:
    """The map that `convert` takes where none is named, and why; None: the dataset is of the target robot itself."""

    map: str | None
    reason: str


@dataclass(frozen=True)
class _Fit:
    """How a dataset holds a robot's joints. strangers: names in its columns that are no joints of the robot."""

    robot: Robot
    columns: tuple[str, ...]
    anonymous: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def joints(self) -> set[str]:
        return {joint for vector in VECTORS for joint in self.robot.layout(vector).joints}


def guess_robot(dataset: SourceDataset) -> RobotGuess:
    """The robot whose joints the dataset's columns hold: by name before by position, the largest of several."""
    robots, maps = shipped()
    tried = {robot.name: _fit(robot, dataset) for robot in robots}
    fits = [fit for fit in tried.values() if isinstance(fit, _Fit)]
    if not fits:
        misfits = "; ".join(f"{name}: {misfit}" for name, misfit in tried.items())
        return RobotGuess(None, f"none of the shipped robots fits: {misfits}")
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
    return RobotGuess(
        name=best.robot.name,
        reason=_reason(best, [fit.robot.name for fit in rivals]),
        maps=tuple(embodiment_map.name for embodiment_map in from_best),
        command=_command(dataset, best.robot, _recommended(from_best)),
        confidence="weak" if best.anonymous else "likely" if rivals or best.strangers else "certain",
    )


def guess_map(dataset: SourceDataset, robot: str | None = None) -> MapGuess:
    """The one shipped map that can be meant where none is named.

    Args:
        dataset: The source.
        robot: The target, a shipped robot or a robot file; None: whatever the only map leads to.

    Raises:
        RecipeError: it is not certain which robot the dataset is of, or there is no map or several; lists them.
    """
    target = None if robot is None else load_robot(robot)
    if target is not None and isinstance(_fit(target, dataset), _Fit):
        return MapGuess(None, f"the dataset is of '{target.name}' itself")
    guess = guess_robot(dataset)
    if guess.name is None or guess.confidence != "certain":
        sure = guess.reason if guess.name is None else f"its robot is not certain ({guess.reason})"
        raise RecipeError(f"{dataset.root}: name a map, for {sure}. Known: {', '.join(map_names())}")
    _, maps = shipped()
    found = [known.name for known in maps if known.name in guess.maps and target in (None, known.target)]
    there = "" if target is None else f" to '{target.name}'"
    if len(found) == 1:
        return MapGuess(found.pop(), f"{guess.reason}; no other map leads from '{guess.name}'{there}")
    problem = f"several maps lead from '{guess.name}'{there}" if found else f"no map leads from '{guess.name}'{there}"
    raise RecipeError(f"{dataset.root}: name a map, for {problem}: {', '.join(found or guess.maps) or 'none'}")


@cache
def shipped() -> tuple[tuple[Robot, ...], tuple[EmbodimentMap, ...]]:
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
    known = {name for group in groups for joint in group.joints for name in spellings(joint, robot.aliases)}
    listed = set(robot.column_names.values())
    by_name = [dataset.features[column] for column, by in how.items() if by == "name"]
    named = [name for feature in by_name if feature.stated_names not in listed for name in feature.names or ()]
    return _Fit(
        robot=robot,
        columns=tuple(how),
        anonymous=tuple(column for column, by in how.items() if by == "position"),
        strangers=tuple(dict.fromkeys(name for name in named if spelling(name) not in known)),
    )


def _reason(fit: _Fit, others: list[str]) -> str:
    name, anonymous = fit.robot.name, fit.anonymous
    if not anonymous:
        text = f"all {len(fit.joints)} joints of '{name}' by name in {_listed(fit.columns)}"
    elif len(anonymous) < len(fit.columns):
        text = f"all joints of '{name}', by name but for {_listed(anonymous)}, where names are anonymous"
    else:
        text = f"width {len(fit.robot.layout('state').joints)} fits '{name}', names are anonymous"
    if fit.strangers:
        text += f"; {_listed(fit.strangers)} there are no joints of it"
    return f"{text}; {', '.join(others)} would fit as well" if others else text


def _listed(names: tuple[str, ...]) -> str:
    *most, last = names if len(names) <= MAX_LISTED else (*names[:MAX_LISTED], f"{len(names) - MAX_LISTED} others")
    return f"{', '.join(most)} and {last}" if most else last


def _recommended(maps: tuple[EmbodimentMap, ...]) -> EmbodimentMap | None:
    """The first map, but a rescaled one before one that copies values of another range."""
    return max(maps, key=lambda known: known.name.endswith("_rescaled"), default=None)


def _command(dataset: SourceDataset, robot: Robot, embodiment_map: EmbodimentMap | None) -> str:
    """The command line that converts this dataset, with what it cannot do without."""
    words = ["millrace", "convert", dataset.address, "OUT"]
    if embodiment_map is None:
        words += ["--robot", robot.name]
    else:
        words += ["--map", embodiment_map.name]
        for target, camera in embodiment_map.cameras.items():
            if camera not in dataset.cameras and dataset.cameras:
                words += ["--camera", f"{target}={dataset.cameras[0]}"]
    if dataset.files.bounds(dataset.root) != dataset.root:
        words.append("--follow-links")
    default_fps = Recipe.model_fields["fps"].default
    if dataset.fps < default_fps:
        words += ["--fps", "source"]
    if not dataset.tasks and not any(episode.tasks for episode in dataset.episodes):
        words += ["--task", "SAY WHAT THE ROBOT DOES"]
    return shlex.join(words)
