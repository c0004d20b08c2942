"""Which shipped robot a dataset is of, and what to type next."""

import shlex
from dataclasses import dataclass

from embodiments import EmbodimentMap, JointMismatch, Robot, load_map, load_robot, map_names, match_joints, robot_names
from embodiments.robot import VECTORS
from engine.inspection.columns import width
from engine.recipe import Recipe
from engine.sources import SourceDataset


@dataclass(frozen=True)
class RobotGuess:
    """A shipped robot and why, or None and why not.

    maps: shipped maps that start from it. command: the conversion to try, None without a robot.
    """

    name: str | None
    reason: str
    maps: tuple[str, ...] = ()
    command: str | None = None


@dataclass(frozen=True)
class _Fit:
    robot: Robot
    columns: tuple[str, ...]
    anonymous: tuple[str, ...]
    num_joints: int


def guess_robot(dataset: SourceDataset) -> RobotGuess:
    """The robot whose joints the dataset's columns hold: by name before by position, the largest of several."""
    fits: list[_Fit] = []
    misfits: list[str] = []
    for name in robot_names():
        fit = _fit(load_robot(name), dataset)
        if isinstance(fit, str):
            misfits.append(f"{name}: {fit}")
        else:
            fits.append(fit)
    if not fits:
        return RobotGuess(None, f"none of the shipped robots fits: {'; '.join(misfits)}")
    claimed = (dataset.robot_type or "").casefold()
    best = max(fits, key=lambda fit: (not fit.anonymous, fit.robot.name.casefold() == claimed, fit.num_joints))
    maps = [embodiment_map for embodiment_map in map(load_map, map_names()) if embodiment_map.source == best.robot]
    others = [fit.robot.name for fit in fits if fit is not best and bool(fit.anonymous) == bool(best.anonymous)]
    return RobotGuess(
        name=best.robot.name,
        reason=_reason(best, others),
        maps=tuple(embodiment_map.name for embodiment_map in maps),
        command=_command(dataset, best.robot, next(iter(maps), None)),
    )


def _fit(robot: Robot, dataset: SourceDataset) -> _Fit | str:
    """How the dataset holds the robot's joints, or why it does not."""
    anonymous: dict[str, None] = {}
    columns: dict[str, None] = {}
    joints: set[str] = set()
    for vector in VECTORS:
        for column, wanted in robot.layout(vector).columns.items():
            feature = dataset.features.get(column)
            if feature is None or feature.is_camera or len(feature.shape) > 1:
                return f"no column '{column}' of joints"
            try:
                match = match_joints(feature.names, wanted, width=width(feature), aliases=robot.aliases)
            except JointMismatch:
                if feature.names:
                    return f"'{column}' names other joints"
                return f"'{column}' is {width(feature)} wide, not {len(wanted)}"
            columns[column] = None
            if match.by == "position":
                anonymous[column] = None
            joints.update(wanted)
    return _Fit(robot, tuple(columns), tuple(anonymous), len(joints))


def _reason(fit: _Fit, others: list[str]) -> str:
    name, anonymous = fit.robot.name, fit.anonymous
    if not anonymous:
        text = f"all {fit.num_joints} joints of '{name}' by name in {_listed(fit.columns)}"
    elif len(anonymous) < len(fit.columns):
        text = f"all joints of '{name}', by name but for {_listed(anonymous)}, where names are anonymous"
    else:
        text = f"width {len(fit.robot.layout('state').joints)} fits '{name}', names are anonymous"
    return f"{text}; {', '.join(others)} would fit as well" if others else text


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _command(dataset: SourceDataset, robot: Robot, embodiment_map: EmbodimentMap | None) -> str:
    """The command line that converts this dataset, with what it cannot do without."""
    words = ["millrace", "convert", str(dataset.root), "OUT"]
    if embodiment_map is None:
        words += ["--robot", robot.name]
    else:
        words += ["--map", embodiment_map.name]
        for target, camera in embodiment_map.cameras.items():
            if camera not in dataset.cameras and dataset.cameras:
                words += ["--camera", f"{target}={dataset.cameras[0]}"]
    default_fps = Recipe.model_fields["fps"].default
    if dataset.fps < default_fps:
        words += ["--fps", "source"]
    if not dataset.tasks and not any(episode.tasks for episode in dataset.episodes):
        words += ["--task", "SAY WHAT THE ROBOT DOES"]
    return shlex.join(words)
