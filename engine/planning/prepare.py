"""Open a recipe's sources and check them against their maps; problems are collected, not raised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from millrace.embodiments import CompiledMap, Key, MillraceError, Remedy, Robot, RuleError, Setting, is_path
from millrace.engine.dataset import Origin
from millrace.engine.errors import DatasetError
from millrace.engine.planning.action_kinds import check_action_kinds
from millrace.engine.planning.action_shift import AUTO, check_alignment
from millrace.engine.planning.cameras import bind_cameras, check_named_cameras
from millrace.engine.planning.cut_rules import CutRules, choose_cut_rules
from millrace.engine.planning.episode_filter import filter_episodes
from millrace.engine.planning.filter_rules import FilterRules, choose_filter_rules, episode_filter
from millrace.engine.planning.joint_columns import ColumnMisfit, JointColumns, match_columns
from millrace.engine.planning.language import is_text_column, read_instructions
from millrace.engine.planning.lineage import episode_origins
from millrace.engine.planning.map_choice import MapChoice, RecipeMaps
from millrace.engine.planning.recipe import SOURCE_RATE, Recipe, SourceSpec
from millrace.engine.planning.recipe_problems import Problems
from millrace.engine.planning.recipe_sources import action_shift, alignment, open_recipe_source, trim_limit
from millrace.engine.planning.resample import frame_indices
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.planning.tasks import check_tasks, task_notes
from millrace.engine.planning.trim import trim_episodes
from millrace.engine.sources import SourceDataset, SourceEpisode, camera_name
from millrace.engine.sources.episode import BadEpisode
from millrace.engine.sources.location import pin_revision
from millrace.engine.sources.selection import resolve_selection


@dataclass(frozen=True, eq=False)
class PreparedSource:
    """A source that fits its map.

    key: its place in the recipe. spec: with the map that was guessed. cameras: target camera -> source
    camera. episodes: those that the recipe selects. rejected: of these, what cannot be read. num_frames: of the
    output, by episode index, before still stretches are cut. origins: by episode index. notes: what the user should
    know. cuts: which still stretches are cut. action_shift, filter: see `Binding`. filtered: of the selected
    episodes, what the filter leaves out by metadata.
    """

    key: Key
    spec: SourceSpec
    dataset: SourceDataset
    map: CompiledMap
    state: JointColumns
    action: JointColumns
    cameras: Mapping[str, str]
    episodes: tuple[SourceEpisode, ...]
    rejected: tuple[BadEpisode, ...]
    num_frames: Mapping[int, int]
    origins: Mapping[int, Origin]
    notes: tuple[str, ...]
    texts: Mapping[str, int] | None = None
    cuts: CutRules | None = None
    action_shift: int = 0
    filter: FilterRules | None = None
    filtered: tuple[BadEpisode, ...] = ()

    @property
    def fps(self) -> Fraction:
        """The source's rate, Hz: the recipe's where it gives one, else the metadata's."""
        return _own_fps(self.spec, self.dataset)


def prepare_sources(recipe: Recipe, problems: Problems) -> list[PreparedSource]:
    """The recipe's sources that fit their maps; only metadata is read."""
    maps = problems.collect(("robot",), RecipeMaps, recipe.robot, recipe.drafted)
    # Where the robot is wrong, sources are still held against maps of their own.
    maps = maps or RecipeMaps(None)
    prepared = [_prepare(recipe, number, maps, problems) for number in range(len(recipe.sources))]
    return [source for source in prepared if source is not None]


def _prepare(recipe: Recipe, number: int, maps: RecipeMaps, problems: Problems) -> PreparedSource | None:
    spec, key = recipe.sources[number], ("sources", number)
    dataset = problems.collect((*key, "path"), open_recipe_source, recipe, number)
    if dataset is None:
        if spec.map is not None:
            problems.collect((*key, "map"), maps.compiled_map, spec)
        return None
    spec = spec.model_copy(update={"path": pin_revision(spec.path, dataset.revision)})
    facts = _read_facts(recipe, dataset, spec, key, problems)
    is_mapped = spec.map is not None or maps.robot == recipe.robot
    chosen = _choose(maps, spec, facts.dataset, key, problems) if is_mapped else None
    if chosen is None:
        problems.collect((*key, "cameras"), check_named_cameras, facts.dataset, spec)
        return None
    return _fit(recipe, facts, chosen, key, problems)


@dataclass(frozen=True)
class _SourceFacts:
    """What a source says before it has a map; episodes None: the recipe's selection is wrong."""

    dataset: SourceDataset
    episodes: list[SourceEpisode] | None
    rejected: list[BadEpisode]
    num_frames: dict[int, int]
    has_texts: bool
    notes: tuple[str, ...]
    filtered: list[BadEpisode]


def _read_facts(recipe: Recipe, dataset: SourceDataset, spec: SourceSpec, key: Key, problems: Problems) -> _SourceFacts:
    selected = problems.collect((*key, "episodes"), _select, dataset, spec)
    episodes, rejected = selected or (None, [])
    has_texts = problems.collect((*key, "language"), _has_texts, dataset, spec) or False
    if spec.language is not None and has_texts and episodes is not None:
        dataset, episodes = read_instructions(dataset, episodes, spec.language)
    episodes, filtered = _filter(recipe, spec, dataset, episodes, key, problems)
    shift = action_shift(recipe, _number(key))
    num_frames = problems.collect((*key, "fps"), _count_frames, recipe, spec, dataset, episodes or (), shift)
    about_tasks = problems.collect((*key, "task"), _check_tasks, dataset, episodes or (), spec)
    return _SourceFacts(dataset, episodes, rejected, num_frames or {}, has_texts, about_tasks or (), filtered)


def _filter(
    recipe: Recipe,
    spec: SourceSpec,
    dataset: SourceDataset,
    episodes: list[SourceEpisode] | None,
    key: Key,
    problems: Problems,
) -> tuple[list[SourceEpisode] | None, list[BadEpisode]]:
    """The selected episodes that the recipe's filter keeps as far as metadata tells, and the others."""
    chosen = episode_filter(recipe, spec)
    if chosen is None or not episodes:
        return episodes, []
    fps = _own_fps(spec, dataset)
    found = problems.collect((*key, "filter"), filter_episodes, dataset, episodes, spec, chosen, fps)
    return found or (None, [])


def _fit(recipe: Recipe, facts: _SourceFacts, chosen: MapChoice, key: Key, problems: Problems) -> PreparedSource | None:
    """The source with its map, as far as both fit."""
    spec, compiled, notes = chosen
    columns = problems.collect((*key, "map"), _match, facts.dataset, compiled, spec)
    cameras = problems.collect((*key, "cameras"), _bind, recipe, facts.dataset, spec, compiled)
    if columns is not None:
        problems.collect((*key, "map"), _check_kinds, recipe, facts.dataset, spec, compiled, columns[1])
    cuts = problems.collect((*key, "still"), choose_cut_rules, recipe, spec, compiled)
    if alignment(recipe, spec) == AUTO:
        problems.collect((*key, "align_action"), check_alignment, compiled)
    rules = problems.collect((*key, "filter"), choose_filter_rules, recipe, spec, compiled)
    shift = action_shift(recipe, _number(key))
    if facts.episodes is None or columns is None or cameras is None:
        return None
    episodes, num_frames = facts.episodes, facts.num_frames
    if max_trim := trim_limit(recipe, spec):
        used = frozenset(cameras.values())
        trimmed = problems.collect((*key, "trim_mismatch"), trim_episodes, episodes, used, max_trim=max_trim)
        episodes = list(trimmed or episodes)
        counted = problems.collect((*key, "fps"), _count_frames, recipe, spec, facts.dataset, episodes, shift)
        num_frames = counted or {}
    return PreparedSource(
        key=key,
        spec=spec,
        dataset=facts.dataset,
        map=compiled,
        state=columns[0],
        action=columns[1],
        cameras=cameras,
        episodes=tuple(episodes),
        rejected=tuple(facts.rejected),
        num_frames=num_frames,
        origins=episode_origins(spec.path, facts.dataset),
        texts={text: number for number, text in facts.dataset.tasks.items()} if facts.has_texts else None,
        cuts=cuts,
        action_shift=shift,
        filter=rules,
        filtered=tuple(facts.filtered),
        notes=(*notes, *facts.notes),
    )


def _check_kinds(
    recipe: Recipe, dataset: SourceDataset, spec: SourceSpec, compiled: CompiledMap, action: JointColumns
) -> None:
    own_fps = _own_fps(spec, dataset)
    target_fps = own_fps if recipe.fps == SOURCE_RATE else Fraction(recipe.fps)
    is_drafted = recipe.drafted is not None and compiled.source == recipe.drafted.robot
    check_action_kinds(dataset, action, compiled, rates=(own_fps, target_fps), drafted=is_drafted)


def _has_texts(dataset: SourceDataset, spec: SourceSpec) -> bool:
    """Whether a column that the recipe names holds the instructions themselves."""
    return spec.language is not None and is_text_column(dataset, spec.language)


def _bind(recipe: Recipe, dataset: SourceDataset, spec: SourceSpec, compiled: CompiledMap) -> dict[str, str]:
    skipped = {camera_name(camera) for camera in recipe.without_cameras}
    as_listed = _lists_cameras(recipe.robot, compiled.target)
    return bind_cameras(dataset, spec, compiled, recipe.cameras, skipped=skipped, as_listed=as_listed)


def _select(dataset: SourceDataset, spec: SourceSpec) -> tuple[list[SourceEpisode], list[BadEpisode]]:
    """The selected episodes, of which at least one can be read, and those that cannot."""
    episodes, rejected = resolve_selection(dataset, spec.episodes)
    if not episodes:
        first = rejected[0]
        which = "selected episodes" if spec.episodes is not None else "episodes"
        raise DatasetError(
            f"none of the {len(rejected)} {which} of {spec.path} can be read; episode {first.index}: ",
            first.fault.reason,
            ". ",
            Remedy("Fix the dataset's metadata, or select others with ", Setting("episodes")),
            episode=first.index,
        ).about(first.fault.facts)
    return episodes, rejected


def _check_tasks(dataset: SourceDataset, episodes: Sequence[SourceEpisode], spec: SourceSpec) -> tuple[str, ...]:
    """Check the tasks; returns notes for the user."""
    check_tasks(dataset, episodes, spec)
    return tuple(task_notes(dataset, episodes, spec))


def _number(key: Key) -> int:
    """The source's place in the recipe."""
    return int(key[1])


def _own_fps(spec: SourceSpec, dataset: SourceDataset) -> Fraction:
    return spec.fps or dataset.fps


def _count_frames(
    recipe: Recipe, spec: SourceSpec, dataset: SourceDataset, episodes: Sequence[SourceEpisode], shift: int
) -> dict[int, int]:
    """Output frames by episode index; shift: of the actions, beyond which frames have none."""
    own_fps = _own_fps(spec, dataset)
    target_fps = own_fps if recipe.fps == SOURCE_RATE else Fraction(recipe.fps)
    resample = partial(frame_indices, source_fps=own_fps, target_fps=target_fps, resampler=recipe.resample)
    resample(1)  # the rate may be wrong where no episode is selected
    lengths = {episode.num_frames for episode in episodes}  # of 100,000 episodes a few hundred
    with_action = {num_frames: num_frames - abs(shift) for num_frames in lengths}
    by_length = {num_frames: len(resample(left)) if left > 0 else 0 for num_frames, left in with_action.items()}
    counts = {episode.index: by_length[episode.num_frames] for episode in episodes}
    for episode in episodes:
        if counts[episode.index] == 0:
            problem = (
                f"episode {episode.index} of {spec.path} has {episode.num_frames} frames, none left at {target_fps} Hz"
            )
            advice = Remedy("leave it out with ", Setting("episodes"))
            shifted = f" with actions shifted by {shift} frames" if shift else ""
            raise DatasetError(problem, shifted, "; ", advice, episode=episode.index, got=episode.num_frames)
    return counts


def _choose(
    maps: RecipeMaps, spec: SourceSpec, dataset: SourceDataset, key: Key, problems: Problems
) -> MapChoice | None:
    try:
        return maps.choose(spec, dataset)
    except RuleError as error:
        problems.add((*key, "rules", *error.key[1:]), error)
    except MillraceError as error:
        problems.add((*key, "map"), error)
    return None


def _lists_cameras(robot: str | None, target: Robot) -> bool:
    """Whether the cameras of a user's own robot file are all that is wanted; a shipped robot's are usual names only."""
    return robot is not None and is_path(robot) and "cameras" in target.model_fields_set


def _match(dataset: SourceDataset, compiled: CompiledMap, spec: SourceSpec) -> tuple[JointColumns, JointColumns]:
    """The columns of state and action; of two that do not fit, to tell one is enough.

    Raises:
        ColumnMisfit: they do not fit; says which robot the dataset is of, where that is known.
    """
    try:
        return match_columns(dataset, compiled.source, "state"), match_columns(dataset, compiled.source, "action")
    except ColumnMisfit as misfit:
        guess = guess_robot(dataset, str(spec.path))
        if guess.name in (None, compiled.source.name) or guess.confidence == "weak":
            raise
        which = (
            f"map '{spec.map}' starts from robot '{compiled.source.name}'" if spec.map else f"'{compiled.source.name}'"
        )
        maps = (f"Maps from there: {', '.join(guess.maps)}",) if guess.maps else ("Take ", Setting("robot", guess.name))
        problem = f"{dataset.address}: {which}, which does not fit: {misfit.short}. The dataset is of '{guess.name}': "
        raise ColumnMisfit(
            problem,
            f"{guess.reason}. ",
            Remedy(*maps),
            short=misfit.short,
            got=guess.name,
            expected=compiled.source.name,
            known=guess.maps,
        ) from misfit
