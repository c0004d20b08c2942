"""From a recipe and its opened sources to the plan of every output episode."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from embodiments import (
    CompiledMap,
    Robot,
    compile_map,
    identity_map,
    load_map,
    load_robot,
    match_joints,
    unknown_name,
)
from embodiments.errors import JointMismatch
from embodiments.robot import Vector
from engine.errors import DatasetError, RecipeError
from engine.layout import camera_key
from engine.recipe import SOURCE_RATE, Recipe, SourceSpec, parse_selection
from engine.resample import Resampler, frame_indices
from engine.sources import SourceDataset, SourceEpisode
from engine.video.encode import VideoSettings
from engine.video.reframe import Crop


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


@dataclass(frozen=True, eq=False)
class Job:
    """What all episodes share; sent to each worker once."""

    bindings: tuple[Binding, ...]
    video: VideoSettings
    crop: Crop
    resample: Resampler
    chunks_size: int


@dataclass(frozen=True)
class EpisodePlan:
    """One output episode; first_index is the global index of its first frame, task_index its first task's."""

    index: int
    binding: int
    episode: SourceEpisode
    num_frames: int
    first_index: int
    task_index: int


@dataclass(frozen=True, eq=False)
class ConversionPlan:
    """The whole output, before any of it is made.

    dropped: source columns and cameras that nothing asked for. notes: what the user should know.
    """

    recipe: Recipe
    job: Job
    target: Robot
    horizon: int
    tasks: tuple[str, ...]
    episodes: tuple[EpisodePlan, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Output frames of all episodes."""
        return sum(episode.num_frames for episode in self.episodes)

    @property
    def map(self) -> CompiledMap:
        """The map of the first source; all maps share their target."""
        return self.job.bindings[0].map

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the output."""
        return tuple(self.job.bindings[0].cameras)


def make_plan(recipe: Recipe, sources: Sequence[SourceDataset]) -> ConversionPlan:
    """Number the output's episodes, frames and tasks; nothing but metadata is read.

    Args:
        recipe: What to make.
        sources: The opened datasets of recipe.sources, in that order.

    Raises:
        MillraceError: a source does not fit its map, its rate or its tasks.
    """
    maps = [_compile(recipe, spec) for spec in recipe.sources]
    target_fps = _target_fps(recipe, sources)
    selected = [_select(source, spec) for source, spec in zip(sources, recipe.sources, strict=True)]
    tasks = _number_tasks(recipe, sources, selected)
    bindings = tuple(
        _bind(source, spec, compiled, tasks)
        for source, spec, compiled in zip(sources, recipe.sources, maps, strict=True)
    )
    target = maps[0].target
    horizon = recipe.horizon or target.horizon
    episodes = tuple(_number_episodes(recipe, bindings, selected, tasks, target_fps))
    _check_horizon(episodes, horizon)
    return ConversionPlan(
        recipe=recipe,
        job=Job(
            bindings=bindings,
            video=VideoSettings(target_fps, recipe.image_size, recipe.gop),
            crop=recipe.crop,
            resample=recipe.resample,
            chunks_size=recipe.chunks_size,
        ),
        target=target,
        horizon=horizon,
        tasks=tuple(tasks),
        episodes=episodes,
        dropped=tuple(dict.fromkeys(_dropped(sources, bindings))),
        notes=tuple(dict.fromkeys(_notes(sources, bindings))),
    )


def _compile(recipe: Recipe, spec: SourceSpec) -> CompiledMap:
    if spec.map is not None:
        compiled = compile_map(load_map(spec.map))
        if recipe.robot is not None and compiled.target != load_robot(recipe.robot):
            raise RecipeError(f"map '{spec.map}' leads to '{compiled.target.name}', not to '{recipe.robot}'")
        return compiled
    assert recipe.robot is not None, "Recipe demands a map or a robot"
    return compile_map(identity_map(load_robot(recipe.robot)))


def _target_fps(recipe: Recipe, sources: Sequence[SourceDataset]) -> Fraction:
    if recipe.fps != SOURCE_RATE:
        assert isinstance(recipe.fps, Fraction)
        return recipe.fps
    rates = {source.fps for source in sources}
    if len(rates) > 1:
        listed = ", ".join(f"{source.root}: {source.fps}" for source in sources)
        raise RecipeError(f"--fps source needs sources of one rate, got {listed}")
    return rates.pop()


def _select(source: SourceDataset, spec: SourceSpec) -> list[SourceEpisode]:
    """The episodes that the recipe asks for, in its order, each once."""
    episodes = source.episodes
    if spec.episodes is None:
        chosen = list(episodes)
    else:
        by_index = {episode.index: episode for episode in episodes}
        chosen = []
        for part in parse_selection(spec.episodes):
            wanted = range(*part.indices(max(by_index, default=-1) + 1)) if isinstance(part, slice) else [part]
            chosen += [by_index[index] for index in wanted if index in by_index]
            if isinstance(part, int) and part not in by_index:
                raise RecipeError(f"--episodes {spec.episodes}: {source.root} has no episode {part}")
    if not chosen:
        raise RecipeError(f"--episodes {spec.episodes or ':'} selects none of the {len(episodes)} of {source.root}")
    return list({episode.index: episode for episode in chosen}.values())


def _number_tasks(
    recipe: Recipe, sources: Sequence[SourceDataset], selected: Sequence[Sequence[SourceEpisode]]
) -> dict[str, int]:
    """Output task indices in order of first appearance."""
    texts: dict[str, None] = {}
    for spec, source, episodes in zip(recipe.sources, sources, selected, strict=True):
        if spec.task is not None:
            texts[spec.task] = None
            continue
        for episode in episodes:
            named = episode.tasks or tuple(source.tasks.values())
            if not named or not all(task.strip() for task in named):
                raise RecipeError(
                    f"{source.root} names no task for episode {episode.index}; "
                    'say what the robot does there: --task "Pick up the cube."'
                )
            texts.update(dict.fromkeys(named))
    return {text: index for index, text in enumerate(texts)}


def _bind(source: SourceDataset, spec: SourceSpec, compiled: CompiledMap, tasks: Mapping[str, int]) -> Binding:
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
    cameras = {**named, **spec.cameras}
    for target, camera in cameras.items():
        if not SAFE_NAME.fullmatch(target):
            raise DatasetError(f"{source.root}: {target!r} cannot name a camera: it becomes a folder")
        if camera not in source.cameras:
            problem = unknown_name(camera, f"camera of {source.root}", source.cameras)
            raise DatasetError(f"{problem}. Say which one becomes '{target}': --camera {target}=NAME")
    return cameras


# A camera's name becomes a folder of the output.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def _number_episodes(
    recipe: Recipe,
    bindings: Sequence[Binding],
    selected: Sequence[Sequence[SourceEpisode]],
    tasks: Mapping[str, int],
    target_fps: Fraction,
) -> Iterable[EpisodePlan]:
    index = first_index = 0
    for number, (binding, episodes) in enumerate(zip(bindings, selected, strict=True)):
        for episode in episodes:
            num_frames = len(chosen_frames(episode, binding.fps, target_fps, recipe.resample))
            if num_frames == 0:
                raise DatasetError(
                    f"episode {episode.index} of {binding.source.path} has {episode.num_frames} frames, "
                    f"none left at {target_fps} Hz; leave it out with --episodes"
                )
            first_task = binding.source.task or next(iter(episode.tasks), next(iter(tasks)))
            yield EpisodePlan(index, number, episode, num_frames, first_index, tasks[first_task])
            index, first_index = index + 1, first_index + num_frames


def chosen_frames(
    episode: SourceEpisode, source_fps: Fraction, target_fps: Fraction, resample: Resampler
) -> NDArray[np.int64]:
    """Source frames that become the output's, shape (T',); for state, action and every camera alike."""
    return frame_indices(episode.num_frames, source_fps=source_fps, target_fps=target_fps, resampler=resample)


def _check_horizon(episodes: Sequence[EpisodePlan], horizon: int) -> None:
    longest = max(episode.num_frames for episode in episodes)
    if longest < horizon:
        raise RecipeError(
            f"an action chunk has {horizon} steps, but the longest episode {longest} frames: "
            f"GR00T could not draw a sample. Choose --horizon {longest} or less"
        )


BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}


def _dropped(sources: Sequence[SourceDataset], bindings: Sequence[Binding]) -> Iterable[str]:
    for source, binding in zip(sources, bindings, strict=True):
        cameras = {camera_key(camera) for camera in binding.cameras.values()}
        used = {*binding.state.columns, *binding.action.columns, *cameras, *BOOKKEEPING}
        yield from (name for name in source.features if name not in used)


def _notes(sources: Sequence[SourceDataset], bindings: Sequence[Binding]) -> Iterable[str]:
    for source, binding in zip(sources, bindings, strict=True):
        for vector in (binding.state, binding.action):
            for column, how in zip(vector.columns, vector.by, strict=True):
                if how == "position":
                    yield (
                        f"{source.root}: '{column}' names no joints; they were taken by position, in the order "
                        f"of robot '{binding.map.source.name}'"
                    )
        if binding.map.unused:
            yield f"{source.root}: the map leaves {', '.join(binding.map.unused)} unused"
