"""One dataset's conversion: episodes, in whatever process, then meta/."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.embodiments.errors import MillraceError
from millrace.engine.dataset.record import EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.dataset.writing import writing_to
from millrace.engine.episode.convert import convert_episode
from millrace.engine.errors import EpisodesFailed, FaultCode, OutputFailed
from millrace.engine.execution.retry import retry
from millrace.engine.execution.workers import Workers
from millrace.engine.layout import QUARANTINE
from millrace.engine.output.commit import commit
from millrace.engine.output.folder import output_folder, remove_strays
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.quarantine import set_aside, without_failed
from millrace.engine.output.renumber import renumber
from millrace.engine.planning.numbering import Key, without, without_unused_tasks
from millrace.engine.planning.plan import ConversionPlan, EpisodePlan, first_fault
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.summary import Summary, summarize


@dataclass(frozen=True)
class Rerun:
    """What becomes of what is there, and of what fails.

    overwrite: delete what an earlier run made. verify: hold finished files against their digests, not only their
    sizes. skip_bad: finish the dataset without the episodes that fail. retry_skipped: with it, also try
    those again that a finished dataset lacks.
    """

    overwrite: bool = False
    verify: bool = False
    skip_bad: bool = False
    retry_skipped: bool = False


@dataclass(frozen=True)
class Watch:
    """Who is told, while episodes are converted, of the plan and how many of it are done, of each result, and of
    how many failed episodes are tried once more."""

    on_plan: Callable[[ConversionPlan, int], None] = lambda plan, num_done: None
    on_result: Callable[[EpisodeResult], None] = lambda result: None
    on_retry: Callable[[int], None] = lambda num_failed: None


def run_plan(
    plan: ConversionPlan,
    out: Path,
    *,
    workers: Workers,
    started: float,
    rerun: Rerun = Rerun(),
    watch: Watch = Watch(),
) -> Summary:
    """Do what was planned: episodes, then meta/; started: perf_counter() when it began.

    Raises:
        EpisodesFailed: some episodes could not be converted; quarantine.jsonl has them.
        OutputFailed: the output folder cannot be written to.
    """
    sources = [spec.path for spec in plan.recipe.sources]
    with (
        writing_to(out),
        output_folder(out, sources, overwrite=rerun.overwrite, reopen=rerun.skip_bad) as scratch,
    ):
        (out / QUARANTINE).unlink(missing_ok=True)
        return _Run(out, scratch, workers, started, rerun, watch).finish(plan)


def as_left(plan: ConversionPlan, out: Path, rerun: Rerun) -> ConversionPlan:
    """The plan as an earlier run finished it: without what that skipped, and without tasks that no row names."""
    plan = without_skipped(plan, out) if rerun.skip_bad else plan
    with Ledger(out, plan, is_read_only=True) as ledger:
        return without_unused_tasks(plan, ledger.records())


def without_skipped(plan: ConversionPlan, out: Path) -> ConversionPlan:
    """The plan but for what an earlier run with --skip-bad skipped, and what was not fixed since."""
    with Ledger(out, plan, is_read_only=True) as ledger:
        return without(plan, {failure.key for failure in ledger.skipped})


class _Run:
    """One run's way from a plan to a finished dataset."""

    def __init__(self, out: Path, scratch: Path, workers: Workers, started: float, rerun: Rerun, watch: Watch) -> None:
        self.out, self.scratch, self.workers, self.started = out, scratch, workers, started
        self.rerun, self.watch = rerun, watch
        self.converted: set[Key] = set()

    def finish(self, plan: ConversionPlan) -> Summary:
        """With --skip-bad, what fails is skipped, until nothing fails."""
        if self.rerun.skip_bad:
            self._retry_skipped(plan)
            plan = without_skipped(plan, self.out)
        while True:
            with Ledger(self.out, plan, verify=self.rerun.verify) as ledger:
                failures = self._convert(plan, ledger)
                if not failures and (self.rerun.skip_bad or not plan.rejected):
                    rest = without_unused_tasks(plan, ledger.records())
                    if rest is plan:
                        return self._commit(plan, ledger)
                else:
                    rest = self._without(failures, plan)
                    ledger.skip(failures)
            plan = rest

    def _convert(self, plan: ConversionPlan, ledger: Ledger) -> list[EpisodeFailure]:
        """Convert what is not done; returns what cannot be, in the plan's order."""
        renumber(plan, ledger, self.out, self.scratch)
        todo = [episode for episode in plan.episodes if episode not in ledger]
        for episode in todo:
            ledger.vacate(episode.index)
        ledger.sync()
        self.watch.on_plan(plan, len(plan.episodes) - len(todo))
        results = _results(todo, plan, self.out, self.scratch, self.workers)
        failed = [failure for result in results if (failure := self._take(result, ledger))]
        again = self._retry(failed, plan, self.out)
        failures = [failure for result in again if (failure := self._take(result, ledger))]
        for failure in failures:
            ledger.append(failure)
            self.watch.on_result(failure)
        return sorted(failures, key=lambda failure: failure.index)

    def _take(self, result: EpisodeResult, ledger: Ledger) -> EpisodeFailure | None:
        """Record a converted episode; a failure is returned, as it may be tried again."""
        if isinstance(result, EpisodeFailure):
            if result.code is FaultCode.OUTPUT:
                raise OutputFailed(result.reason)
            return result
        ledger.append(result)
        self.watch.on_result(result)
        self.converted.add(result.key)
        return None

    def _retry(self, failures: Sequence[EpisodeFailure], plan: ConversionPlan, out: Path) -> Iterator[EpisodeResult]:
        if num_tried := sum(first_fault(plan.episodes[failure.index], plan.job) is None for failure in failures):
            self.watch.on_retry(num_tried)
        folders = out.absolute(), self.scratch.absolute()
        return retry(failures, plan.episodes, plan.job, *folders, is_local=self.workers.local)

    def _retry_skipped(self, plan: ConversionPlan) -> None:
        """What an earlier run skipped may be readable by now; it is only tried, as numbers change if it is."""
        with Ledger(self.out, plan) as ledger:
            planned = {episode.key: episode for episode in plan.episodes}
            skipped = [failure for failure in ledger.skipped if failure.key in planned]
            now = [failure.model_copy(update={"index": planned[failure.key].index}) for failure in skipped]
            tried = self.scratch / "tried"
            readable = {result.key for result in self._retry(now, plan, tried) if isinstance(result, EpisodeRecord)}
            shutil.rmtree(tried, ignore_errors=True)
            if readable:
                ledger.take_back(readable)

    def _without(self, failures: Sequence[EpisodeFailure], plan: ConversionPlan) -> ConversionPlan:
        told = sorted((*plan.rejected, *failures), key=lambda failure: failure.key)
        if not self.rerun.skip_bad:
            raise set_aside(told, plan, self.out, self.scratch)
        try:
            return without_failed(plan, failures)
        except MillraceError as why:
            failed = set_aside(told, plan, self.out, self.scratch)
            raise EpisodesFailed([*failed.lines, f"nothing was skipped: {why}"], failed.quarantined) from why

    def _commit(self, plan: ConversionPlan, ledger: Ledger) -> Summary:
        remove_strays(self.out, plan)
        commit(plan, ledger, self.out, self.scratch)
        return summarize(plan, ledger, self.converted, started=self.started)


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
    if plan.job.gpu is not None:
        from millrace.engine.execution.actors import convert_with_gpus

        yield from convert_with_gpus(todo, plan.job, out.absolute(), scratch.absolute(), workers=workers)
        return
    from millrace.engine.execution.ray_data import convert_in_parallel

    yield from convert_in_parallel(
        todo, plan.job, out.absolute(), scratch.absolute(), num_workers=workers.num, address=workers.address
    )
