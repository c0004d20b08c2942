"""From a recipe and its opened sources to the plan of every output episode."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodiments import CompiledMap, Robot
from engine.binding import Binding, bind, compile_for, dropped, notes
from engine.errors import DatasetError, RecipeError
from engine.recipe import SOURCE_RATE, Recipe
from engine.resample import Resampler, frame_indices
from engine.sources import Clip, SourceDataset, SourceEpisode
from engine.sources.selection import select_episodes
from engine.video.encode import VideoSettings
from engine.video.reframe import Crop


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
    """One output episode.

    first_index: the global index of its first frame. task_index: its first task's. digest: of all that
    decides its rows beside the source's files, so that a stopped run may be continued.
    """

    index: int
    binding: int
    episode: SourceEpisode
    num_frames: int
    first_index: int
    task_index: int
    digest: str


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
    maps = [compile_for(recipe, spec) for spec in recipe.sources]
    target_fps = _target_fps(recipe, sources)
    selected = [select_episodes(source, spec.episodes) for source, spec in zip(sources, recipe.sources, strict=True)]
    tasks = _number_tasks(recipe, sources, selected)
    bindings = tuple(
        bind(source, spec, compiled, tasks)
        for source, spec, compiled in zip(sources, recipe.sources, maps, strict=True)
    )
    bound = list(zip(sources, bindings, strict=True))
    _check_alike(bindings)
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
        dropped=tuple(dict.fromkeys(name for source, binding in bound for name in dropped(source, binding))),
        notes=tuple(dict.fromkeys(note for source, binding in bound for note in notes(source, binding))),
    )


def _check_alike(bindings: Sequence[Binding]) -> None:
    """All sources of one output have its robot and its cameras."""
    first = bindings[0]
    for binding in bindings[1:]:
        if binding.map.target != first.map.target:
            robots = f"'{first.map.target.name}' and '{binding.map.target.name}'"
            raise RecipeError(f"the maps of {first.source.path} and {binding.source.path} lead to {robots}")
        if set(binding.cameras) != set(first.cameras):
            raise RecipeError(
                f"{first.source.path} gives the cameras {', '.join(first.cameras)}, "
                f"{binding.source.path} the cameras {', '.join(binding.cameras)}; they must be the same"
            )


def _target_fps(recipe: Recipe, sources: Sequence[SourceDataset]) -> Fraction:
    if recipe.fps != SOURCE_RATE:
        assert isinstance(recipe.fps, Fraction)
        return recipe.fps
    rates = {source.fps for source in sources}
    if len(rates) > 1:
        listed = ", ".join(f"{source.root}: {source.fps}" for source in sources)
        raise RecipeError(f"--fps source needs sources of one rate, got {listed}")
    return rates.pop()


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
            is_ambiguous = not episode.tasks and len(named) > 1 and "task_index" not in source.features
            if not named or is_ambiguous or not all(task.strip() for task in named):
                raise RecipeError(
                    f"{source.root} names no task for episode {episode.index}; "
                    'say what the robot does there: --task "Pick up the cube."'
                )
            texts.update(dict.fromkeys(named))
    return {text: index for index, text in enumerate(texts)}


def _number_episodes(
    recipe: Recipe,
    bindings: Sequence[Binding],
    selected: Sequence[Sequence[SourceEpisode]],
    tasks: Mapping[str, int],
    target_fps: Fraction,
) -> Iterable[EpisodePlan]:
    index = first_index = 0
    for number, (binding, episodes) in enumerate(zip(bindings, selected, strict=True)):
        known = binding.digest
        for episode in episodes:
            num_frames = len(chosen_frames(episode, binding.fps, target_fps, recipe.resample))
            if num_frames == 0:
                raise DatasetError(
                    f"episode {episode.index} of {binding.source.path} has {episode.num_frames} frames, "
                    f"none left at {target_fps} Hz; leave it out with --episodes"
                )
            first_task = binding.source.task or next(iter(episode.tasks), next(iter(tasks)))
            task_index = tasks[first_task]
            facts = (known, episode.index, num_frames, first_index, task_index, _state_of_files(episode))
            digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
            yield EpisodePlan(index, number, episode, num_frames, first_index, task_index, digest)
            index, first_index = index + 1, first_index + num_frames


def _state_of_files(episode: SourceEpisode) -> list[tuple[str, int, int]]:
    """Name, size and time of the files that an episode is read from; a missing one has neither."""
    paths = dict.fromkeys(
        [rows.path for rows in episode.rows] + [clip.path for clip in episode.clips.values() if isinstance(clip, Clip)]
    )
    return [(str(path.absolute()), *_state_of(path)) for path in paths]


def _state_of(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


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
