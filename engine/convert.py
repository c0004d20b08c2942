"""The main job: recipe in, finished GR00T dataset out."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from engine.commit import commit
from engine.episode import convert_episode
from engine.errors import EpisodesFailed, RecipeError
from engine.layout import WORK
from engine.ledger import Ledger
from engine.output import check_output, output_folder
from engine.parts import OutputPart, part_folders, unfinished
from engine.plan import ConversionPlan, EpisodePlan
from engine.planning import plan_parts
from engine.recipe import Recipe
from engine.record import EpisodeFailure, EpisodeResult
from engine.row_reader import RowReader
from engine.summary import Estimate, Summary, summarize


@dataclass(frozen=True)
class Workers:
    """Where episodes are converted: `num` actors of an embedded Ray or of the cluster at `address`, or in this process.

    num None: one for each core.
    """

    num: int | None = None
    address: str | None = None
    local: bool = False

    def __post_init__(self) -> None:
        if self.num is not None and self.num < 1:
            raise RecipeError(f"--workers takes at least 1 core, not {self.num}")
        if self.local and (self.num, self.address) != (None, None):
            raise RecipeError("--local works in this process alone: leave out --workers and --address")


def plan_conversion(recipe: Recipe) -> ConversionPlan:
    """Open the recipe's sources and plan every episode of training; only metadata is read."""
    return plan_parts(recipe)[0]


def convert(
    recipe: Recipe,
    out: str | Path,
    *,
    workers: Workers = Workers(),
    overwrite: bool = False,
    on_plan: Callable[[ConversionPlan, int], None] = lambda plan, num_done: None,
    on_result: Callable[[EpisodeResult], None] = lambda result: None,
) -> Summary:
    """Convert the recipe's sources into a GR00T dataset at `out`; a run that was stopped is continued.

    Args:
        recipe: What to make.
        out: The dataset's folder; meta/ appears in it last. Held-out episodes go to OUT_heldout.
        workers: Where the work is done.
        overwrite: Delete what an earlier run made there.
        on_plan: Told the plan and how many of its episodes are already done.
        on_result: Told each episode's result as it comes.

    Raises:
        EpisodesFailed: some episodes could not be converted; the others are done, meta/ is not written.
        MillraceError: anything else that is wrong with recipe, source or output folder.
    """
    started = perf_counter()
    plans = plan_parts(recipe)
    parts = list(zip(plans, part_folders(plans, Path(out)), strict=True))
    todo = parts if overwrite else unfinished(parts)
    for plan, folder in todo:
        check_output(folder, [spec.path for spec in plan.recipe.sources], overwrite=overwrite)
    run = partial(run_plan, workers=workers, started=started, overwrite=overwrite, on_plan=on_plan, on_result=on_result)
    if len(parts) == 1:
        return run(*parts[0])
    return _run_parts(parts, todo, run, workers)


def _run_parts(
    parts: list[OutputPart], todo: list[OutputPart], run: Callable[[ConversionPlan, Path], Summary], workers: Workers
) -> Summary:
    """Do what is to be done of the datasets for training and for evaluation, on one Ray."""
    failures: list[str] = []
    summaries: dict[str | None, Summary] = {}
    with _one_connection(workers):
        for plan, folder in todo:
            try:
                summaries[plan.part] = run(plan, folder)
            except EpisodesFailed as error:
                failures += error.lines
    if failures:
        raise EpisodesFailed(failures)
    for plan, folder in parts:
        if plan.part not in summaries:
            with Ledger(folder, plan) as ledger:
                summaries[plan.part] = summarize(plan, ledger, [], started=perf_counter())
    return replace(summaries["training"], held_out=summaries["held out"])


def _one_connection(workers: Workers) -> AbstractContextManager[object]:
    """Ray for several datasets, one after the other; it takes seconds to start."""
    if workers.local:
        return nullcontext()
    from engine.stream import connected

    return connected(workers.num, workers.address)


def run_plan(
    plan: ConversionPlan,
    out: Path,
    *,
    workers: Workers,
    started: float,
    overwrite: bool = False,
    on_plan: Callable[[ConversionPlan, int], None] = lambda plan, num_done: None,
    on_result: Callable[[EpisodeResult], None] = lambda result: None,
) -> Summary:
    """Do what `convert` planned: episodes, then meta/; started: perf_counter() when it began."""
    failures: list[EpisodeFailure] = []
    sources = [spec.path for spec in plan.recipe.sources]
    with output_folder(out, sources, overwrite=overwrite) as scratch, Ledger(out, plan) as ledger:
        todo = [episode for episode in plan.episodes if episode not in ledger]
        on_plan(plan, len(plan.episodes) - len(todo))
        for result in _results(todo, plan, out, scratch, workers):
            ledger.append(result)
            on_result(result)
            if isinstance(result, EpisodeFailure):
                failures.append(result)
        if failures:
            failures.sort(key=lambda failed: failed.index)
            raise EpisodesFailed([_line(failure, plan) for failure in failures])
        commit(plan, ledger, out, scratch)
        return summarize(plan, ledger, todo, started=started)


def estimate(recipe: Recipe, out: str | Path, *, overwrite: bool = False) -> Estimate:
    """What `convert` would do, and at what cost; one episode of middle length is converted to find out."""
    plans = plan_parts(recipe)
    for place in part_folders(plans, Path(out)):
        check_output(place, [spec.path for spec in recipe.sources], overwrite=overwrite)
    plan = plans[0]
    by_length = sorted(plan.episodes, key=lambda episode: episode.num_frames)
    sample = by_length[len(by_length) // 2]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / WORK
        scratch.mkdir()
        started = perf_counter()
        result = convert_episode(sample, plan.job, Path(folder), scratch)
        seconds = perf_counter() - started
    if isinstance(result, EpisodeFailure):
        raise EpisodesFailed([_line(result, plan)])
    num_frames = sum(plan.num_frames for plan in plans)
    scale = num_frames / result.num_frames
    return Estimate(
        num_episodes=sum(len(plan.episodes) for plan in plans),
        num_source_frames=sum(episode.episode.num_frames for plan in plans for episode in plan.episodes),
        num_frames=num_frames,
        num_bytes=round(sum(file.num_bytes for file in result.files) * scale),
        free_bytes=shutil.disk_usage(_existing_parent(Path(out))).free,
        core_seconds=seconds * scale,
        dropped=plan.dropped,
        notes=plan.notes,
    )


def _line(failure: EpisodeFailure, plan: ConversionPlan) -> str:
    """What is wrong with an episode, and of which source where there are several."""
    sources = plan.recipe.sources
    return str(failure) if len(sources) == 1 else f"{sources[failure.binding].path}, {failure}"


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def _results(
    todo: list[EpisodePlan], plan: ConversionPlan, out: Path, scratch: Path, workers: Workers
) -> Iterator[EpisodeResult]:
    if not todo:
        return
    if workers.local:
        reader = RowReader()
        for episode in todo:
            yield convert_episode(episode, plan.job, out.absolute(), scratch.absolute(), reader=reader)
        return
    # Ray takes a second to import; nothing else needs it.
    from engine.stream import convert_in_parallel

    yield from convert_in_parallel(
        todo, plan.job, out.absolute(), scratch.absolute(), num_workers=workers.num, address=workers.address
    )
