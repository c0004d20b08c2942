"""Recorded actions as a policy: a dataset played back, also one that was converted to another robot and rate."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import (
    FrozenModel,
    InverseMap,
    Remedy,
    Robot,
    Setting,
    identity_map,
    load_map,
    load_robot,
    map_names,
    robot_names,
)
from millrace.engine.dataset.json_files import Unreadable, parse_model
from millrace.engine.dataset.manifest import read_head_text
from millrace.engine.layout import ACTION, MANIFEST
from millrace.train.errors import RolloutError
from millrace.train.rollout.control import Follow, follow_targets
from millrace.train.rollout.simulated_robot import Observation, Start, Vector
from millrace.train.shards import read_step_columns
from millrace.train.training_dataset import TrainingDataset

# A column of recordings made in a simulator: the seed that its episode began with, alike in all rows.
SEED = "simulator_seed"


class _MadeBy(FrozenModel):
    """What a manifest says of how joints became joints; None where there was no one map."""

    map: str | None = None


class ReplayPolicy:
    """Plays a dataset's actions back, whatever it observes.

    Args:
        dataset: A GR00T dataset.
        inverse: From the dataset's robot to the one that plays.
        control_fps: Targets a second that this one takes, Hz.
        follow: What it does between two targets of the dataset.
    """

    def __init__(self, dataset: TrainingDataset, inverse: InverseMap, *, control_fps: Fraction, follow: Follow) -> None:
        self.name = f"replay:{dataset.root}"
        self.num_episodes = len(dataset.lengths)
        self.dataset, self.inverse = dataset, inverse
        self.control_fps, self.follow = control_fps, follow
        self._targets: NDArray[np.float64] = np.empty((0, inverse.source.layout("action").width))

    def start(self, episode: int) -> Start:
        """Read the actions of the dataset's episode of that place, and the seed that it was recorded with.

        Raises:
            RolloutError: the dataset does not say how it began.
            TrainingDataError: its rows are missing or unreadable.
        """
        path = self.dataset.rows_path(sorted(self.dataset.lengths)[episode])
        actions = self.inverse.action(np.asarray(read_step_columns(path, [ACTION])[ACTION], dtype=np.float64))
        self._targets = follow_targets(
            actions, fps=self.dataset.metadata.info.fps, control_fps=self.control_fps, follow=self.follow
        )
        return Start(self._read_seed(path, episode), len(self._targets))

    def act(self, observation: Observation, step: int) -> Vector:
        """The recorded targets of that step."""
        targets: Vector = self._targets[step]
        return targets

    def _read_seed(self, path: Path, episode: int) -> int:
        if SEED not in self.dataset.metadata.info.features:
            raise RolloutError(
                f"{self.dataset.root} has no column {SEED!r}, so it is unknown where the objects lay; ",
                Remedy("replay a recording made in this simulator, such as those of benchmarks/aloha_recordings.py"),
                expected=SEED,
            )
        seeds = np.unique(read_step_columns(path, [SEED])[SEED])
        if len(seeds) != 1:
            problem = f"{path}, episode {episode}: {SEED} has {len(seeds)} values; an episode begins with one seed"
            raise RolloutError(problem, episode=episode)
        return int(seeds[0])


def open_replay(
    folder: Path, robot: str, *, map_name: str | None, control_fps: Fraction, follow: Follow
) -> ReplayPolicy:
    """Open a dataset of that robot, or one that was converted from it.

    Args:
        folder: A GR00T dataset.
        robot: The robot that plays, by name or file.
        map_name: The map by which it was converted, by name or file; None: as its manifest says.
        control_fps: Targets a second that the robot takes, Hz.
        follow: What it does between two targets.

    Raises:
        TrainingDataError: meta/ is missing or malformed.
        RolloutError: no map leads from that robot to the dataset's, its joints are others, or they are no targets.
    """
    dataset = TrainingDataset.open(folder)
    inverse = _find_inverse(dataset, load_robot(robot), map_name)
    _check_targets(inverse.source)
    _check_joints(dataset, inverse)
    return ReplayPolicy(dataset, inverse, control_fps=control_fps, follow=follow)


def _find_inverse(dataset: TrainingDataset, robot: Robot, map_name: str | None) -> InverseMap:
    name = map_name or _read_map(dataset.root)
    if name in (None, robot.name):  # the map of a robot onto itself has the robot's name
        return identity_map(robot).inverse
    chosen = load_map(name)
    if chosen.source.name != robot.name:
        raise RolloutError(
            f"map {name!r} leads from {chosen.source.name!r}, and this environment's robot is {robot.name!r}; ",
            Remedy("replay a dataset that was converted from that robot"),
            got=chosen.source.name,
            expected=robot.name,
        )
    return chosen.inverse


def _read_map(root: Path) -> str | None:
    """The map that a dataset's manifest names; None without a manifest, or where robots are the same.

    Raises:
        RolloutError: it names none that ships: a file is only opened where the user names it.
    """
    try:
        name = parse_model(read_head_text(root), _MadeBy, MANIFEST).map
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as error:
        raise RolloutError(f"{root}: {error}") from error
    if name is None or name in (*map_names(), *robot_names()):
        return name
    problem = f"{root} was converted by map {name!r}, which does not ship with Millrace; "
    raise RolloutError(problem, Remedy("name its file: ", Setting("map", "FILE")), got=name, known=map_names())


def _check_targets(robot: Robot) -> None:
    layout = robot.layout("action")
    others = [joint for joint, kind in zip(layout.joints, layout.action_kinds, strict=True) if kind != "target"]
    if others:
        raise RolloutError(
            f"actions of {robot.name!r} are no targets for {', '.join(others)}: only targets can be replayed"
        )


def _check_joints(dataset: TrainingDataset, inverse: InverseMap) -> None:
    feature, expected = dataset.metadata.info.features[ACTION], inverse.target.layout("action").joints
    if feature.width == len(expected) and feature.names in (None, expected):
        return
    raise RolloutError(
        f"{dataset.root}: the {feature.width} joints of its actions are not the {len(expected)} of "
        f"{inverse.target.name!r}; ",
        Remedy("name the map by which it was converted: ", Setting("map", "NAME")),
        got=feature.names,
        expected=expected,
    )
