"""Convert a recipe into finished GR00T datasets, or estimate what that would take."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

from millrace.embodiments import Message, MillraceError, Remedy, Setting
from millrace.engine.dataset import EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.drafting.same_robot import keep_source_robot
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.episode.survey import SurveyedEpisode, count_surveyed, survey_rows
from millrace.engine.errors import EpisodeError, EpisodesFailed, Quarantined, RecipeError
from millrace.engine.execution.capacity import reader_processes
from millrace.engine.execution.devices import choose, created_backends
from millrace.engine.execution.workers import Workers, cluster_session, describe_shortage
from millrace.engine.inspection.dataset_lag import measure_lags
from millrace.engine.layout import PACKED, WORK
from millrace.engine.output.commit import statistics_bytes
from millrace.engine.output.filtered import emptied_sources, leave_out
from millrace.engine.output.folder import check_output
from millrace.engine.output.quarantine import describe_failures, failure_error
from millrace.engine.output.state import OutputState
from millrace.engine.output.warning_sums import sum_warnings
from millrace.engine.packing.depth_clips import DepthClips
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.copies import count_copies
from millrace.engine.planning.numbering import remove_episodes, settle_lengths
from millrace.engine.planning.plan import first_fault
from millrace.engine.planning.planner import PreparedRecipe, check_horizon, plan_splits, prepare_recipe
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_sources import pin_commits
from millrace.engine.run import Rerun, Watch, run_plan
from millrace.engine.splits import finished_summary, read_states, states_of_splits
from millrace.engine.stored import finished_files
from millrace.engine.stored.staging import OutputPlace
from millrace.engine.summary import Estimate, Summary, held_out_episodes
from millrace.engine.video.backends import CPU_BACKENDS, X264, BackendChoice

__all__ = ["Summary", "Workers", "convert", "estimate", "plan_conversion", "run_plan"]


def plan_conversion(recipe: Recipe) -> ConversionPlan:
    """Open the recipe's sources and plan every episode of the train split.

    Only metadata is read, and for `align_action: auto` the rows of a few episodes.
    """
    return plan_splits(prepare_recipe(measure_lags(keep_source_robot(recipe))))[0]


def convert(
    recipe: Recipe,
    out: str | Path,
    *,
    workers: Workers = Workers(),
    overwrite: bool = False,
    verify: bool = False,
    skip_bad: bool = False,
    retry_skipped: bool = False,
    layouts: Layouts = Layouts(),
    staging: str | Path | None = None,
    on_plan: Callable[[ConversionPlan, int], None] = lambda plan, num_done: None,
    on_result: Callable[[EpisodeResult], None] = lambda result: None,
    on_retry: Callable[[int], None] = lambda num_failed: None,
    on_renumber: Callable[[int, int], None] = lambda num_done, num_all: None,
    on_finish: Callable[[ConversionPlan, Path, Path], None] = lambda plan, made, folder: None,
) -> Summary:
    """Convert the recipe's sources into a GR00T dataset at `out`; a run that was stopped is continued.

    Args:
        recipe: What to make.
        out: The dataset's folder, or its address in an object store, such as s3://bucket/folder; meta/info.json appears
            in it last. Held-out episodes go to OUT_heldout.
        workers: Where the work is done.
        overwrite: Delete what an earlier run made there.
        verify: Check what an earlier run made there by digest, not only by size.
        skip_bad: Finish the dataset without the episodes that cannot be converted.
        retry_skipped: The same, and first try the episodes again that a finished dataset skipped.
        layouts: LeRobot's layouts to make: v2.1, which GR00T reads, v3.0, or both, then v3.0 in OUT_v30.
        staging: A folder on this machine for rows and the ledger of a dataset in a store; None: in the user's folder
            of caches.
        on_plan: Called with the plan and the number of its episodes that are already done.
        on_result: Called with each episode's result as it arrives.
        on_retry: Called with the number of failed episodes before they are tried once more.
        on_renumber: Called at the end, where frames were cut or episodes left out, with how many episodes have their
            final numbers, and of how many.
        on_finish: Called at the end for each finished dataset, with the plan, the folder of the manifest that says
            what its episodes were made of, and its folder; `millrace.engine.report.report_conversion` is one to pass.

    Raises:
        EpisodesFailed: some episodes could not be converted; the others are done, meta/ is not written.
        MillraceError: the recipe, a source or the output folder is wrong in another way.
    """
    if not isinstance(recipe, Recipe):
        advice = Remedy(f"such as Recipe.single({str(recipe)!r}, map=...)")
        raise RecipeError("convert takes a recipe, ", advice, f", not {recipe!r}", got=str(recipe), expected="a Recipe")
    rerun = Rerun(overwrite, verify, skip_bad or retry_skipped, retry_skipped)
    place = OutputPlace.of(out, staging)
    _check_layouts(layouts, place)
    with place.name_errors():
        layouts.check(place.folder)
        watch = Watch(on_plan, on_result, on_retry, on_renumber)
        summary, plans = _convert(recipe, layouts.episodes_folder(place.folder), workers, rerun, watch)
        if layouts.is_packed:
            summary = _pack(summary, layouts, plans, overwrite=overwrite)
        for made, plan in plans.items():
            on_finish(plan, made, made if layouts.keeps_episodes else layouts.packed_folder(made))
        return summary


def _check_layouts(layouts: Layouts, place: OutputPlace) -> None:
    if layouts.is_packed and place.address is not None:
        advice = Remedy("make it in a folder, and copy that, or pass ", Setting("layout", "v2.1"))
        raise RecipeError(f"LeRobot v3.0 cannot be made in an object store ({place}): ", advice, got=layouts.names)


def _pack(summary: Summary, layouts: Layouts, plans: Mapping[Path, ConversionPlan], *, overwrite: bool) -> Summary:
    """Make LeRobot v3.0 of what was converted; plans: by folder, that of the held-out episodes last."""
    packed = []
    for folder, plan in plans.items():
        depth = DepthClips(folder, plan) if plan.depth else None
        packed.append(layouts.pack(folder, depth=depth, overwrite=overwrite))
    held_out = summary.held_out
    if held_out is not None:
        held_out = replace(held_out, packed=packed[-1])
    return replace(summary, packed=packed[0], held_out=held_out)


def _convert(
    recipe: Recipe, out: Path, workers: Workers, rerun: Rerun, watch: Watch
) -> tuple[Summary, dict[Path, ConversionPlan]]:
    """What was done, and the plan of each folder."""
    started = perf_counter()
    prepared, states = _prepare(recipe, out, overwrite=rerun.overwrite)
    created = created_backends(states, recipe.device)
    if created is not None and all(state.progress == "finished" for state in states):
        plans = plan_splits(prepared, BackendChoice(created))
        if all(found := [finished_summary(*each, rerun) for each in zip(plans, states, strict=True)]):
            return _join(found), {state.folder: plan for plan, state in zip(plans, states, strict=True)}
    _check_folders(states, recipe, rerun)
    with cluster_session(workers):
        backends = choose(prepared, recipe.device, workers, created=created)
        choice = replace(backends, shortage=describe_shortage(workers))
        planned = list(zip(plan_splits(prepared, choice), states, strict=True))
        del prepared  # of a million episodes it takes 200 MB, while these are converted
        finished = {state.folder: finished_summary(plan, state, rerun) for plan, state in planned}
        todo = [(plan, state.folder) for plan, state in planned if finished[state.folder] is None]
        # Packed episodes have no files of their own with which this run could go on.
        for mark in (folder / PACKED for _, folder in todo if (folder / PACKED).is_file()):
            mark.unlink()
        run = partial(run_plan, workers=workers, started=started, rerun=rerun, watch=watch)
        summaries = finished | _run_all(_held_out_first(todo), run)
        return _join(summaries.values()), {state.folder: plan for plan, state in planned}


def _prepare(recipe: Recipe, out: Path, *, overwrite: bool) -> tuple[PreparedRecipe, tuple[OutputState, ...]]:
    """The opened recipe, and the states of the folders that it writes to."""
    states = read_states(out, overwrite=overwrite)
    recipe = keep_source_robot(pin_commits(recipe, states[0].commits))
    prepared = prepare_recipe(measure_lags(recipe, states[0].shifts))
    return prepared, states_of_splits(prepared, *states)


def _check_folders(states: Iterable[OutputState], recipe: Recipe, rerun: Rerun) -> None:
    """Check all folders that are not finished before any work begins."""
    for state in states:
        if state.progress != "finished":
            with explain_write_errors(state.folder):
                check_output(state.folder, _source_paths(recipe), overwrite=rerun.overwrite)


def _source_paths(recipe: Recipe) -> list[Path]:
    return [spec.path for spec in recipe.sources]


def _held_out_first(todo: list[tuple[ConversionPlan, Path]]) -> list[tuple[ConversionPlan, Path]]:
    """Rows may leave nothing of the few held-out episodes: that is known before the many others are converted."""
    by_rows = any(plan.job.has_cuts or plan.job.has_filter for plan, _ in todo)
    return sorted(todo, key=lambda one: one[0].split != "held out") if by_rows else todo


def _run_all(
    todo: list[tuple[ConversionPlan, Path]], run: Callable[[ConversionPlan, Path], Summary]
) -> dict[Path, Summary]:
    """Convert the train and held-out datasets; failed episodes of either are raised after both.

    Where no episode of the first is left, the other is not begun: the recipe is to be changed.
    """
    problems: list[MillraceError] = []
    advice: list[str] = []
    found: list[Quarantined] = []
    summaries: dict[Path, Summary] = {}
    for plan, folder in todo:
        try:
            summaries[folder] = run(plan, folder)
        except EpisodesFailed as error:
            problems += error.problems
            advice += error.advice
            found += error.quarantined
            failed = {(one.source, one.episode) for one in error.quarantined}
            if plan.split == "held out" and len(failed) >= len(plan.episodes):
                break
    if problems:
        raise EpisodesFailed(problems, advice, quarantined=found)
    return summaries


def _join(summaries: Iterable[Summary | None]) -> Summary:
    """The summary of the first dataset, with that of its held-out episodes."""
    first, *others = (summary for summary in summaries if summary is not None)
    return replace(first, held_out=others[0]) if others else first


def estimate(
    recipe: Recipe,
    out: str | Path,
    *,
    workers: Workers = Workers(),
    overwrite: bool = False,
    layouts: Layouts = Layouts(),
    staging: str | Path | None = None,
    on_progress: Callable[[str, int, int | None], None] = lambda stage, num_done, num_all: None,
) -> Estimate:
    """What `convert` would do, and at what cost; found by converting one episode of median length on the CPU.

    Where a filter or cuts need them, the rows of all episodes are read, in processes of this machine; `on_progress` is
    called with the stage, how much of it is done, and how much there is. Raises what `convert` raises before it
    converts.
    """
    place = OutputPlace.of(out, staging)
    _check_layouts(layouts, place)
    with place.name_errors():
        return _estimate(recipe, place.folder, workers, layouts, overwrite=overwrite, on_progress=on_progress)


def _estimate(
    recipe: Recipe,
    out: Path,
    workers: Workers,
    layouts: Layouts,
    *,
    overwrite: bool,
    on_progress: Callable[[str, int, int | None], None],
) -> Estimate:
    layouts.check(out)
    on_progress("planning", 0, None)
    prepared, states = _prepare(recipe, layouts.episodes_folder(out), overwrite=overwrite)
    created = created_backends(states, recipe.device)
    for state in states:
        check_output(state.folder, _source_paths(recipe), overwrite=overwrite)
    if recipe.device == "cuda" or created not in (None, CPU_BACKENDS):
        with cluster_session(workers):
            choose(prepared, recipe.device, workers, created=created)
    plans = plan_splits(prepared, BackendChoice(created or CPU_BACKENDS))
    surveyed = _survey(plans, workers, on_progress)
    by_rows = [[one.filtered for one in found if one.filtered is not None] for found in surveyed]
    plans = [leave_out(plan, found) for plan, found in zip(plans, by_rows, strict=True)]
    filtered = (*plans[0].filtered, *(one for found in by_rows for one in found))
    plans = [_without_cuts(plan, found) for plan, found in zip(plans, surveyed, strict=True)]
    on_progress("converting one episode", 0, None)
    sample, seconds = _timed_sample(plans[0])
    num_frames = sum(plan.num_frames for plan in plans)
    scale = num_frames / sample.num_frames
    copies = [count_copies(plan) for plan in plans]
    return Estimate(
        num_episodes=sum(len(plan.episodes) for plan in plans),
        num_clips=sum(len(plan.episodes) * len(plan.cameras) for plan in plans),
        num_copied_clips=None if None in copies else sum(count or 0 for count in copies),
        num_source_frames=sum(episode.episode.num_frames for plan in plans for episode in plan.episodes),
        num_frames=num_frames,
        num_bytes=round(sum(file.num_bytes for file in sample.files) * scale),
        num_bytes_here=round(sum(file.num_bytes for file in finished_files(out).kept(sample.files)) * scale),
        num_scratch_bytes=max(statistics_bytes(plan) for plan in plans),
        free_bytes=shutil.disk_usage(_existing_parent(out)).free,
        core_seconds=seconds * scale,
        dropped=plans[0].dropped,
        notes=(*plans[0].notes, *map(str, sum_warnings([sample], plans[0])), *_known_failures(plans)),
        carried=tuple(column.name for column in plans[0].job.carried),
        cuts=tuple(cuts for found in surveyed for one in found if (cuts := one.cuts) and (cuts.cuts or cuts.reason)),
        filtered=describe_failures(sorted(filtered, key=lambda one: one.key), plans[0]),
        emptied=emptied_sources((*plans[-1].filtered, *by_rows[-1]), plans[-1]),
        held_out=held_out_episodes(plans[-1]),
    )


def _survey(
    plans: Sequence[ConversionPlan], workers: Workers, on_progress: Callable[[str, int, int | None], None]
) -> list[list[SurveyedEpisode]]:
    """What rows decide of each plan's episodes."""
    num_processes = 1 if workers.is_inline else min(workers.num or reader_processes(), reader_processes())
    num_before, num_all = 0, sum(map(count_surveyed, plans))
    surveyed: list[list[SurveyedEpisode]] = []
    for plan in plans:
        tell = partial(_tell, on_progress, num_before, num_all)
        surveyed.append(survey_rows(plan, num_processes=num_processes, on_progress=tell))
        num_before += len(surveyed[-1])
    return surveyed


def _tell(on_progress: Callable[[str, int, int | None], None], num_before: int, num_all: int, num_done: int) -> None:
    on_progress("reading rows", num_before + num_done, num_all)


def _without_cuts(plan: ConversionPlan, found: Sequence[SurveyedEpisode]) -> ConversionPlan:
    """The plan with the lengths that its episodes would have, without those of which nothing would be left."""
    known = {one.key: one.cuts for one in found if one.cuts is not None}
    if not known:
        return plan
    settled = settle_lengths(plan, {key: one.num_output_frames for key, one in known.items() if not one.reason})
    sound = remove_episodes(settled, {key for key, one in known.items() if one.reason})
    if sound.episodes:
        check_horizon(sound)
    return sound if sound.episodes else plan


def _known_failures(plans: Sequence[ConversionPlan]) -> Iterator[str]:
    """One line about the episodes that are known to fail from metadata alone, if any."""
    failed = [failure_error(failure, plan) for plan in plans for failure in plan.rejected]
    for plan in plans:
        for episode in plan.episodes:
            if fault := first_fault(episode, plan.job):
                failed.append(EpisodeError(episode.episode.index, None, fault.reason).about(fault.facts))
    if failed:
        yield Message(f"{len(failed)} selected episodes cannot be converted; the first, ", failed[0])


def _timed_sample(plan: ConversionPlan) -> tuple[EpisodeRecord, float]:
    """Convert an episode of median length on the CPU; its record, and the seconds that it took.

    Raises:
        EpisodesFailed: it could not be converted.
    """
    # NVENC's bytes are estimated by libx264's.
    backends = plan.job.video.backends.model_copy(update={"encoder": X264})
    job = replace(plan.job, video=replace(plan.job.video, backends=backends))
    sound = [episode for episode in plan.episodes if first_fault(episode, plan.job) is None] or plan.episodes
    by_length = sorted(sound, key=lambda episode: episode.num_frames)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / WORK
        scratch.mkdir()
        started = perf_counter()
        result = convert_episode(by_length[len(by_length) // 2], job, Path(folder), scratch)
        seconds = perf_counter() - started
    if isinstance(result, EpisodeFailure):
        raise EpisodesFailed([failure_error(result, plan)])
    return result, seconds


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
