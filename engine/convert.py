"""The main job: recipe in, finished GR00T dataset out."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from engine.commit import commit
from engine.episode import convert_episode
from engine.errors import EpisodesFailed, RecipeError
from engine.layout import WORK
from engine.ledger import Ledger
from engine.output import check_output, output_folder
from engine.plan import ConversionPlan, EpisodePlan, make_plan
from engine.recipe import Recipe
from engine.record import EpisodeFailure, EpisodeResult
from engine.row_reader import RowReader
from engine.sources import open_source


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


@dataclass(frozen=True)
class Summary:
    """What a conversion did. source_seconds and stage_seconds (wall time over all workers):
    of the episodes that this run converted."""

    num_episodes: int
    num_source_frames: int
    num_frames: int
    num_bytes: int
    num_resumed: int
    source_seconds: float
    wall_seconds: float
    stage_seconds: dict[str, float]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def realtime_factor(self) -> float:
        """Seconds of recording converted in each second."""
        return self.source_seconds / self.wall_seconds


@dataclass(frozen=True)
class Estimate:
    """What a conversion would do, measured on one episode. core_seconds: of one core."""

    num_episodes: int
    num_source_frames: int
    num_frames: int
    num_bytes: int
    free_bytes: int
    core_seconds: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def plan_conversion(recipe: Recipe) -> ConversionPlan:
    """Open the recipe's sources and plan every output episode; only metadata is read."""
    return make_plan(recipe, [open_source(spec.path) for spec in recipe.sources])


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
        out: The dataset's folder; meta/ appears in it last.
        workers: Where the work is done.
        overwrite: Delete what an earlier run made there.
        on_plan: Told the plan and how many of its episodes are already done.
        on_result: Told each episode's result as it comes.

    Raises:
        EpisodesFailed: some episodes could not be converted; the others are done, meta/ is not written.
        MillraceError: anything else that is wrong with recipe, source or output folder.
    """
    started = perf_counter()
    plan = plan_conversion(recipe)
    return run_plan(
        plan, Path(out), workers=workers, overwrite=overwrite, started=started, on_plan=on_plan, on_result=on_result
    )


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
            raise EpisodesFailed([str(failure) for failure in sorted(failures, key=lambda failed: failed.index)])
        commit(plan, ledger, out, scratch)
        return _summarize(plan, ledger, todo, started=started)


def estimate(recipe: Recipe, out: str | Path, *, overwrite: bool = False) -> Estimate:
    """What `convert` would do, and at what cost; one episode of middle length is converted to find out."""
    plan = plan_conversion(recipe)
    check_output(Path(out), [spec.path for spec in recipe.sources], overwrite=overwrite)
    by_length = sorted(plan.episodes, key=lambda episode: episode.num_frames)
    sample = by_length[len(by_length) // 2]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / WORK
        scratch.mkdir()
        started = perf_counter()
        result = convert_episode(sample, plan.job, Path(folder), scratch)
        seconds = perf_counter() - started
    if isinstance(result, EpisodeFailure):
        raise EpisodesFailed([str(result)])
    scale = plan.num_frames / result.num_frames
    return Estimate(
        num_episodes=len(plan.episodes),
        num_source_frames=sum(episode.episode.num_frames for episode in plan.episodes),
        num_frames=plan.num_frames,
        num_bytes=round(sum(file.num_bytes for file in result.files) * scale),
        free_bytes=shutil.disk_usage(_existing_parent(Path(out))).free,
        core_seconds=seconds * scale,
        dropped=plan.dropped,
        notes=plan.notes,
    )


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


def _summarize(plan: ConversionPlan, ledger: Ledger, done: list[EpisodePlan], *, started: float) -> Summary:
    """All of the dataset's sizes, and this run's times; done: the episodes that this run converted."""
    indices = {episode.index for episode in done}
    seconds: Counter[str] = Counter()
    num_bytes = 0
    for record in ledger.records():
        num_bytes += sum(file.num_bytes for file in record.files)
        if record.index in indices:
            seconds.update(record.seconds)
    fps = [binding.fps for binding in plan.job.bindings]
    return Summary(
        num_episodes=len(plan.episodes),
        num_source_frames=sum(episode.episode.num_frames for episode in plan.episodes),
        num_frames=plan.num_frames,
        num_bytes=num_bytes,
        num_resumed=len(plan.episodes) - len(done),
        source_seconds=float(sum(episode.episode.num_frames / fps[episode.binding] for episode in done)),
        wall_seconds=perf_counter() - started,
        stage_seconds=dict(seconds),
        dropped=plan.dropped,
        notes=plan.notes,
    )
