"""How a source's columns, cameras and tasks become the target robot's."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from embodiments import CompiledMap, Robot, compile_map, identity_map, load_map, load_robot, match_joints, unknown_name
from embodiments.errors import JointMismatch
from embodiments.robot import Vector
from engine.errors import DatasetError, RecipeError
from engine.layout import camera_key
from engine.recipe import Recipe, SourceSpec
from engine.sources import SourceDataset

# A camera's name becomes a folder of the output.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Columns that every LeRobot dataset has, made anew.
BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


@dataclass(frozen=True, eq=False)
class JointColumns:
    """The source columns that make up a vector, and where in them each of the robot's joints lies.

    gather (D,): places in the columns joined side by side. by: how each column was matched.
    """

    columns: tuple[str, ...]
    widths: tuple[int, ...]
    gather: NDArray[np.int64]
    by: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Binding:
    """How one source's rows and pictures become the target's.

    cameras: target camera -> source camera. tasks: source task index -> output task index; None where
    all rows of an episode have the task that its plan names.
    """

    source: SourceSpec
    fps: Fraction
    state: JointColumns
    action: JointColumns
    map: CompiledMap
    cameras: Mapping[str, str]
    tasks: Mapping[int, int] | None

    @property
    def digest(self) -> str:
        """Of everything that decides an episode's output beside its files and the recipe."""
        columns = [(vector.columns, vector.widths, vector.gather.tolist()) for vector in (self.state, self.action)]
        facts = (self.fps, columns, self.map.digest, dict(self.cameras), sorted((self.tasks or {}).items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def compile_for(recipe: Recipe, spec: SourceSpec) -> CompiledMap:
    """The map of a source: its own, or that of the recipe's robot onto itself."""
    if spec.map is not None:
        compiled = compile_map(load_map(spec.map))
        if recipe.robot is not None and compiled.target != load_robot(recipe.robot):
            raise RecipeError(f"map '{spec.map}' leads to '{compiled.target.name}', not to '{recipe.robot}'")
        return compiled
    assert recipe.robot is not None, "Recipe demands a map or a robot"
    return compile_map(identity_map(load_robot(recipe.robot)))


def bind(source: SourceDataset, spec: SourceSpec, compiled: CompiledMap, tasks: Mapping[str, int]) -> Binding:
    """Match a source with its map.

    Args:
        source: The opened dataset.
        spec: What the recipe says of it.
        compiled: Its map.
        tasks: Output task index by text.

    Raises:
        DatasetError: a column or camera is missing, or joints are others than the robot's.
    """
    by_rows = spec.task is None and "task_index" in source.features
    known = {index: tasks[text] for index, text in source.tasks.items() if text in tasks}
    return Binding(
        source=spec,
        fps=source.fps,
        state=_match_columns(source, compiled.source, "state"),
        action=_match_columns(source, compiled.source, "action"),
        map=compiled,
        cameras=_bind_cameras(source, spec, compiled),
        tasks=known if by_rows else None,
    )


def _match_columns(source: SourceDataset, robot: Robot, vector: Vector) -> JointColumns:
    """Find the robot's joints in the source's columns, by name where they have names.

    Raises:
        DatasetError: a column is missing, or its joints are others than the robot's.
    """
    gather: list[NDArray[np.int64]] = []
    widths: list[int] = []
    matched: list[str] = []
    layout = robot.layout(vector)
    for column, joints in layout.columns.items():
        feature = source.features.get(column)
        if feature is None or feature.is_camera or len(feature.shape) > 1:
            raise DatasetError(
                f"{source.root} has no column '{column}' of joints, which robot '{robot.name}' reads its "
                f"{vector} from. Known: {', '.join(source.features)}"
            )
        width = feature.shape[0] if feature.shape else 1
        try:
            match = match_joints(feature.names, joints, width=width, aliases=robot.aliases)
        except JointMismatch as error:
            raise DatasetError(f"{source.root}, column '{column}' against robot '{robot.name}': {error}") from error
        gather.append(match.gather + sum(widths))
        widths.append(width)
        matched.append(match.by)
    return JointColumns(tuple(layout.columns), tuple(widths), np.concatenate(gather), tuple(matched))


def _bind_cameras(source: SourceDataset, spec: SourceSpec, compiled: CompiledMap) -> dict[str, str]:
    """Target camera -> source camera; a source of the target's own robot keeps the cameras that it has."""
    named = dict(compiled.cameras) if spec.map is not None else {camera: camera for camera in source.cameras}
    for camera in spec.cameras:
        if spec.map is not None and camera not in compiled.target.cameras:
            raise unknown_name(camera, f"camera of robot '{compiled.target.name}'", compiled.target.cameras)
    if spec.map is None:  # a renamed camera is not kept under its old name as well
        named = {target: camera for target, camera in named.items() if camera not in spec.cameras.values()}
    cameras = {**named, **spec.cameras}
    for target, camera in cameras.items():
        if not SAFE_NAME.fullmatch(target):
            raise DatasetError(f"{source.root}: {target!r} cannot name a camera: it becomes a folder")
        if camera not in source.cameras:
            problem = unknown_name(camera, f"camera of {source.root}", source.cameras)
            raise DatasetError(f"{problem}. Say which one becomes '{target}': --camera {target}=NAME")
    return cameras


def dropped(source: SourceDataset, binding: Binding) -> Iterable[str]:
    """Columns and cameras of the source that nothing asked for."""
    cameras = {camera_key(camera) for camera in binding.cameras.values()}
    used = {*binding.state.columns, *binding.action.columns, *cameras, *BOOKKEEPING}
    return (name for name in source.features if name not in used)


def notes(source: SourceDataset, binding: Binding) -> Iterable[str]:
    """What the user should know of how joints were matched."""
    robot = binding.map.source.name
    for vector in (binding.state, binding.action):
        for column, how in zip(vector.columns, vector.by, strict=True):
            if how == "position":
                order = f"in the order of robot '{robot}'"
                yield f"{source.root}: '{column}' names no joints; they were taken by position, {order}"
    if binding.map.unused:
        yield f"{source.root}: the map leaves {', '.join(binding.map.unused)} unused"
