"""Recorded actions as a policy: a dataset played back, also one that was converted to another robot and rate."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import EmbodimentMap, InverseMap, Remedy, Robot, Setting, identity_map, load_map, load_robot
from millrace.engine.layout import ACTION
from millrace.engine.video.robot_control import manifest_control
from millrace.train.control_rate import Between, resample_chunk
from millrace.train.errors import RolloutError
from millrace.train.rollout.simulated_robot import Observation, Start, Vector
from millrace.train.shards import read_step_columns
from millrace.train.training_dataset import TrainingDataset

# A column of recordings made in a simulator: the seed that its episode began with, alike in all rows.
SEED = "simulator_seed"


class ReplayPolicy:
    """Plays a dataset's actions back, whatever it observes.

    Args:
        dataset: A GR00T dataset.
        inverse: From the dataset's robot to the one that plays.
        control_fps: Targets a second that this one takes, Hz.
        between: What targets do between two rows of the dataset.
    """

    def __init__(
        self, dataset: TrainingDataset, inverse: InverseMap, *, control_fps: Fraction, between: Between
    ) -> None:
        self.name = f"replay:{dataset.root}"
        self.num_episodes = len(dataset.lengths)
        self.dataset, self.inverse = dataset, inverse
        self.control_fps, self.between = control_fps, between
        self._targets: NDArray[np.float32] = np.empty((0, inverse.source.layout("action").width), np.float32)

    def start(self, episode: int) -> Start:
        """Read the actions of the dataset's episode of that place, and the seed that it was recorded with.

        Raises:
            RolloutError: the dataset does not say how it began.
            TrainingDataError: its rows are missing or unreadable.
        """
        path = self.dataset.rows_path(sorted(self.dataset.lengths)[episode])
        actions = self.inverse.action(np.asarray(read_step_columns(path, [ACTION])[ACTION], dtype=np.float64))
        (self._targets,) = resample_chunk(
            actions[np.newaxis],
            fps=self.dataset.metadata.info.fps,
            control_hz=self.control_fps,
            kinds=self.inverse.source.layout("action").action_kinds,
            between=self.between,
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
    folder: Path, robot: str, *, map_name: str | None, control_fps: Fraction, between: Between
) -> ReplayPolicy:
    """Open a dataset of that robot, or one that was converted from it.

    Args:
        folder: A GR00T dataset.
        robot: The robot that plays, by name or file.
        map_name: The map by which it was converted, by name or file; None: as its manifest says.
        control_fps: Targets a second that the robot takes, Hz.
        between: What targets do between two rows.

    Raises:
        TrainingDataError: meta/ is missing or malformed.
        RolloutError: no map leads from that robot to the dataset's, its joints are others, or they are no targets.
    """
    dataset = TrainingDataset.open(folder)
    inverse = _find_inverse(dataset, load_robot(robot), map_name)
    _check_targets(inverse.source)
    _check_joints(dataset, inverse)
    return ReplayPolicy(dataset, inverse, control_fps=control_fps, between=between)


def _find_inverse(dataset: TrainingDataset, robot: Robot, map_name: str | None) -> InverseMap:
    chosen = _recorded_map(dataset.root, robot) if map_name is None else load_map(map_name)
    if chosen.source.name != robot.name:
        raise RolloutError(
            f"map {chosen.name!r} leads from {chosen.source.name!r}, and this environment's robot is {robot.name!r}; ",
            Remedy("replay a dataset that was converted from that robot"),
            got=chosen.source.name,
            expected=robot.name,
        )
    return chosen.inverse


def _recorded_map(root: Path, robot: Robot) -> EmbodimentMap:
    """The map by which recordings of the robot became the dataset, which its manifest holds; without one, none."""
    control = manifest_control(root)
    if control is None:
        return identity_map(robot)
    maps = [source.map for source in control.sources if source.robot.name == robot.name]
    if not maps:
        known = tuple(dict.fromkeys(source.robot.name for source in control.sources))
        problem = f"{root} has no recordings of {robot.name!r}, this environment's robot, but of {', '.join(known)}"
        raise RolloutError(problem, got=known, expected=robot.name)
    first, *others = maps
    if any(other != first for other in others):
        names = ", ".join(dict.fromkeys(found.name for found in maps))
        problem = f"{root} holds recordings of {robot.name!r} that were converted by several maps ({names}); "
        raise RolloutError(problem, Remedy("name one: ", Setting("map", "NAME")))
    return first


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
