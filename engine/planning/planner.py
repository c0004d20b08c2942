"""Plan every output episode of a recipe; only metadata is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from millrace.embodiments import CompiledMap, Key, MillraceError, Remedy, Setting
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.errors import RecipeError
from millrace.engine.planning.action_shift import shift_notes
from millrace.engine.planning.binding import Binding, dropped_features
from millrace.engine.planning.camera_sizes import info_frame_size, output_sizes
from millrace.engine.planning.cameras import check_cameras, check_skipped_cameras, output_cameras
from millrace.engine.planning.carried import Carried, carried_notes
from millrace.engine.planning.carry_choice import choose_carried
from millrace.engine.planning.cut_rules import cut_notes
from millrace.engine.planning.depth_choice import choose_depth, depth_notes
from millrace.engine.planning.episode_filter import check_patterns
from millrace.engine.planning.filter_rules import episode_filter, filter_notes
from millrace.engine.planning.holdout import duplicate_notes, split_episodes
from millrace.engine.planning.image_size import DEFAULT_SIDE
from millrace.engine.planning.map_choice import combine_maps
from millrace.engine.planning.notes import (
    action_rule_notes,
    binding_notes,
    camera_notes,
    choose_crop,
    frame_notes,
    long_episode_notes,
    source_framings,
    uneven_aspect_notes,
    uneven_rate_notes,
    width_notes,
)
from millrace.engine.planning.numbering import Episodes, number_episodes, number_tasks
from millrace.engine.planning.plan import ConversionPlan, Job, Split
from millrace.engine.planning.prepare import PreparedSource, prepare_sources
from millrace.engine.planning.recipe import SOURCE_RATE, Recipe
from millrace.engine.planning.recipe_problems import Problems
from millrace.engine.planning.tasks import has_row_tasks, row_tasks, task_column
from millrace.engine.sources import camera_name
from millrace.engine.sources.episode import BadEpisode
from millrace.engine.video.backends import CPU_BACKENDS, CPU_CHOICE, BackendChoice, Backends
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Crop


@dataclass(frozen=True, eq=False)
class PreparedRecipe:
    """A recipe's opened sources, what they agree on, and each source's episodes of each split."""

    recipe: Recipe
    sources: Sequence[PreparedSource]
    map: CompiledMap
    cameras: tuple[str, ...]
    fps: Fraction
    crop: Crop
    sizes: Mapping[str, FrameSize]
    splits: Mapping[Split | None, Sequence[Episodes]] = field(default_factory=dict)
    carried: Carried = field(default_factory=Carried)

    @property
    def is_resampled(self) -> bool:
        """Whether frames of a source are dropped."""
        return any(source.fps != self.fps for source in self.sources)

    def video_settings(self, backends: Backends = CPU_BACKENDS) -> VideoSettings:
        """The settings of the output's videos; their size is the smallest, which a card may refuse to encode."""
        sizes = self.sizes.values() or [FrameSize.square(DEFAULT_SIDE)]
        smallest = FrameSize(*map(min, zip(*sizes, strict=True)))
        return VideoSettings(self.fps, smallest, self.recipe.gop, backends=backends)


def prepare_recipe(recipe: Recipe) -> PreparedRecipe:
    """Open the recipe's sources, and split their episodes into train and held out; only metadata is read.

    Raises:
        MillraceError: everything that is wrong with the recipe and its sources.
    """
    problems = Problems(recipe)
    prepared = _prepare(recipe, problems)
    problems.check()
    assert prepared is not None, "what is not prepared has a problem"
    training, held_out = split_episodes(prepared.sources, recipe.holdout, problems)
    problems.check()
    splits: dict[Split | None, list[Episodes]] = {None: training}
    if any(held_out):
        splits = {"training": training, "held out": held_out}
    return replace(prepared, splits=splits)


def plan_splits(prepared: PreparedRecipe, choice: BackendChoice = CPU_CHOICE) -> list[ConversionPlan]:
    """Plan the train split, and the held-out split if there is one.

    Raises:
        MillraceError: an action chunk is longer than every episode.
    """
    plans = [_plan_split(prepared, split, choice) for split in prepared.splits]
    problems = Problems(prepared.recipe)
    for plan in plans:
        problems.collect(("horizon",), check_horizon, plan)
    problems.check()
    return plans


def source_problems(recipe: Recipe) -> list[tuple[Key, MillraceError]]:
    """Everything that is wrong with a recipe's robot and its sources: the field, and the error."""
    problems = Problems(recipe)
    _prepare(recipe, problems)
    return [(key, error) for key, error in problems.found if key[0] in ("robot", "sources")]


def _prepare(recipe: Recipe, problems: Problems) -> PreparedRecipe | None:
    sources = prepare_sources(recipe, problems)
    fps = problems.collect(("fps",), _target_fps, recipe, sources)
    for source in sources[1:]:
        problems.collect((*source.key, "map"), _check_target, sources[0], source)
    problems.collect(("filter",), _check_task_filters, recipe, sources)
    cameras = _output_cameras(recipe, sources, problems)
    compiled = (
        None if problems.found else problems.collect(("sources",), combine_maps, [source.map for source in sources])
    )
    if compiled is None or fps is None or cameras is None:
        return None
    specs = tuple(source.spec for source in sources)
    crop = choose_crop(recipe, [source.map for source in sources])
    sizes = problems.collect(("image_size",), output_sizes, recipe.image_size, sources, cameras, crop=crop)
    carried = problems.collect(("columns",), choose_carried, sources, recipe, fps)
    if sizes is None:
        return None
    recipe = recipe.model_copy(update={"sources": specs, "crop": crop})
    return PreparedRecipe(recipe, sources, compiled, cameras, fps, crop, sizes, carried=carried or Carried())


def _check_task_filters(recipe: Recipe, sources: Sequence[PreparedSource]) -> None:
    """Check that the tasks of filters exist: the recipe's in any source without a filter of its own."""
    if len(sources) < len(recipe.sources):
        return
    shared = [(one.dataset, one.spec) for one in sources if one.spec.filter is None]
    own = [([(one.dataset, one.spec)], one.spec) for one in sources if one.spec.filter is not None]
    for among, spec in ([(shared, shared[0][1])] if shared else []) + own:
        chosen = episode_filter(recipe, spec)
        if chosen is not None and chosen.tasks is not None:
            check_patterns(chosen.tasks, among)


def _output_cameras(recipe: Recipe, sources: Sequence[PreparedSource], problems: Problems) -> tuple[str, ...] | None:
    """The output's, which each source gives or is said to lack; None where not all sources are known."""
    if len(sources) < len(recipe.sources):
        return None
    given = [source.cameras for source in sources]
    known = [(source.dataset, source.map) for source in sources]
    skipped = [camera_name(camera) for camera in recipe.without_cameras]
    problems.collect(("without_cameras",), check_skipped_cameras, skipped, known)
    cameras = problems.collect(("cameras",), output_cameras, recipe.cameras, given)
    for source in sources if cameras is not None else ():
        problems.collect((*source.key, "cameras"), check_cameras, source.spec, source.cameras, cameras or ())
    return cameras


def _target_fps(recipe: Recipe, sources: Sequence[PreparedSource]) -> Fraction | None:
    if recipe.fps != SOURCE_RATE:
        assert isinstance(recipe.fps, Fraction)
        return recipe.fps
    rates = {source.fps for source in sources}
    if len(rates) > 1:
        listed = ", ".join(f"{source.spec.path}: {source.fps}" for source in sources)
        raise RecipeError(
            Setting("fps", SOURCE_RATE), f" needs sources of one rate, got {listed}", got=sorted(map(str, rates))
        )
    return next(iter(rates), None)


def _check_target(first: PreparedSource, other: PreparedSource) -> None:
    """All sources of one output lead to its robot."""
    if other.map.target != first.map.target:
        robots = f"'{first.map.target.name}' and '{other.map.target.name}'"
        message = f"the maps of {first.spec.path} and {other.spec.path} lead to {robots}"
        raise RecipeError(message, got=other.map.target.name, expected=first.map.target.name)


def _plan_split(prepared: PreparedRecipe, split: Split | None, choice: BackendChoice) -> ConversionPlan:
    """Plan one split of the recipe: number its tasks, episodes and frames."""
    recipe, sources, selected = prepared.recipe, prepared.sources, prepared.splits[split]
    tasks = number_tasks(sources, selected)
    bindings = tuple(_bind(source, tasks, prepared.carried) for source in sources)
    bound = [(source.dataset, binding) for source, binding in zip(sources, bindings, strict=True)]
    told = [note for source in sources for note in source.notes]
    told += [note for dataset, binding in bound for note in binding_notes(dataset, binding)]
    job = Job(
        bindings=bindings,
        tasks=tuple(tasks),
        cameras=prepared.cameras,
        video=prepared.video_settings(choice.backends),
        crop=prepared.crop,
        resample=recipe.resample,
        action=recipe.action,
        chunks_size=recipe.chunks_size,
        sizes=prepared.sizes,
        gpu=choice.gpu,
        carried=prepared.carried.columns,
        subtasks=prepared.carried.subtasks,
        tools=prepared.carried.tools,
    )
    depth = choose_depth(recipe, sources, prepared.cameras)
    told += depth_notes(sources, depth)
    told += duplicate_notes(sources) if split is not None else ()
    told += carried_notes(prepared.carried, is_resampled=prepared.is_resampled)
    told += [n for bind in bound for n in camera_notes(*bind, recipe)]
    told += [n for bind in bound for n in frame_notes(*bind, job)]
    told += uneven_aspect_notes(prepared.sizes)
    told += [n for bind in bound for n in uneven_rate_notes(*bind, prepared.fps)]
    told += [n for bind in bound for n in action_rule_notes(*bind, recipe.action, prepared.fps)]
    told += width_notes(prepared.map)
    told += cut_notes([(source.dataset.address, source.cuts) for source in sources])
    told += [n for one in sources for n in shift_notes(one.dataset.address, one.action_shift, float(one.fps))]
    told += [n for one in sources for n in filter_notes(one.dataset.address, one.filter)]
    episodes = tuple(number_episodes(sources, bindings, selected, tasks))
    return ConversionPlan(
        split=split,
        recipe=recipe,
        job=job,
        map=prepared.map,
        horizon=recipe.horizon or prepared.map.target.horizon,
        episodes=episodes,
        dropped=tuple(
            dict.fromkeys(name for bind in bound for name in dropped_features(*bind, carried=prepared.carried.names))
        ),
        notes=tuple(dict.fromkeys([*told, *_untrained(prepared), *long_episode_notes(episodes, prepared.fps)])),
        machine_notes=choice.notes,
        left_out=prepared.carried.left_out,
        framings=tuple(dict.fromkeys(framing for bind in bound for framing in source_framings(*bind, job))),
        depth=depth,
        rejected=() if split == "held out" else tuple(_failures(one.rejected for one in sources)),
        filtered=() if split == "held out" else tuple(_failures(one.filtered for one in sources)),
    )


def _failures(by_source: Iterable[Sequence[BadEpisode]]) -> Iterable[EpisodeFailure]:
    """Selected episodes that are not planned, in the recipe's order; they have no number in the output."""
    for number, episodes in enumerate(by_source):
        for bad in sorted(episodes, key=lambda bad: bad.index):
            yield EpisodeFailure(
                index=-1,
                plan="",
                binding=number,
                source_episode=bad.index,
                camera=bad.fault.camera,
                code=bad.fault.code,
                reason=bad.fault.reason,
                facts=bad.fault.facts,
            )


def _untrained(prepared: PreparedRecipe) -> Iterable[str]:
    """Groups that some sources move and others let rest: the sources that switch their training off."""
    trained = [_trained(source) for source in prepared.sources]
    by_some = set().union(*trained)
    for source, own in zip(prepared.sources, trained, strict=True):
        lacking = [group for group in prepared.map.target.groups if group in by_some - own]
        if lacking:
            yield (
                f"warning: {source.spec.path} does not move {', '.join(lacking)}, which other sources do: "
                "nothing trains on these groups. Leave this source out of the recipe, or give it a map that drives them"
            )


def _trained(source: PreparedSource) -> set[str]:
    """Groups that are trained whole: where the target has an action of a group, that counts."""
    robot, own = source.map.target, source.map
    actions = set(robot.groups_of("action"))
    return {name for name in robot.groups if name in (own.trained_action if name in actions else own.trained_state)}


def _bind(source: PreparedSource, tasks: dict[str, int], carried: Carried) -> Binding:
    known = {index: tasks[text] for index, text in row_tasks(source.dataset, source.spec).items() if text in tasks}
    return Binding(
        source=source.spec,
        root=source.dataset.root,
        revision=source.dataset.revision,
        fps=source.fps,
        state=source.state,
        action=source.action,
        map=source.map,
        cameras=source.cameras,
        tasks=known if has_row_tasks(source.dataset, source.spec) else None,
        task_column=task_column(source.spec),
        texts=source.texts,
        carried=repr(carried.columns) if carried.columns else "",
        subtasks=carried.number_subtasks(source.dataset.subtasks),
        sizes={camera: size for camera in source.cameras.values() if (size := info_frame_size(source.dataset, camera))},
        cuts=source.cuts,
        action_shift=source.action_shift,
        filter=source.filter,
    )


def check_horizon(plan: ConversionPlan) -> None:
    longest = max(episode.num_frames for episode in plan.episodes)
    if longest < plan.horizon:
        which = "longest held-out episode" if plan.split == "held out" else "longest episode"
        raise RecipeError(
            f"an action chunk has {plan.horizon} steps, but the {which} {longest} frames: "
            "GR00T could not draw a sample. ",
            Remedy("Choose ", Setting("horizon", longest), " or less"),
            got=plan.horizon,
            expected=longest,
        )
