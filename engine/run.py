"""The conversion of one dataset: convert the episodes, in this process or on workers, then write meta/."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embodiments import Message, MillraceError
from millrace.engine.dataset import EpisodeFailure, EpisodeRecord, EpisodeResult
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.errors import EpisodesFailed, FaultCode, OutputFailed
from millrace.engine.execution.capacity import reader_processes
from millrace.engine.execution.executor import Executor, Folders
from millrace.engine.execution.retry import retry
from millrace.engine.execution.workers import Workers, choose_executor
from millrace.engine.layout import QUARANTINE
from millrace.engine.output.commit import commit
from millrace.engine.output.filtered import leave_out, leave_out_again, split_filtered
from millrace.engine.output.folder import claim_output, remove_strays
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.quarantine import skip_failed_episodes, write_quarantine
from millrace.engine.output.renumber import move_episodes, renumber_rows
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.numbering import Key, remove_episodes, remove_unused_tasks, settle_lengths
from millrace.engine.planning.plan import first_fault
from millrace.engine.planning.planner import check_horizon
from millrace.engine.stored import finished_files
from millrace.engine.summary import Summary, summarize


@dataclass(frozen=True)
class Rerun:
    """How to treat the results of earlier runs, and failed episodes.

    overwrite: delete what an earlier run made. verify: check finished files by digest, not only by size.
    skip_bad: finish the dataset without failed episodes. retry_skipped: with skip_bad, also try the episodes
    again that a finished dataset skipped.
    """

    overwrite: bool = False
    verify: bool = False
    skip_bad: bool = False
    retry_skipped: bool = False


@dataclass(frozen=True)
class Watch:
    """Callbacks that follow a conversion.

    on_plan: the plan, and how many of its episodes are done. on_result: each episode's result. on_retry: how many
    failed episodes are tried once more. on_renumber: how many episodes have their final numbers, of how many that need
    others than they were converted with.
    """

    on_plan: Callable[[ConversionPlan, int], None] = lambda plan, num_done: None
    on_result: Callable[[EpisodeResult], None] = lambda result: None
    on_retry: Callable[[int], None] = lambda num_failed: None
    on_renumber: Callable[[int, int], None] = lambda num_done, num_all: None


def run_plan(
    plan: ConversionPlan,
    out: Path,
    *,
    workers: Workers,
    started: float,
    rerun: Rerun = Rerun(),
    watch: Watch = Watch(),
) -> Summary:
    """Convert the plan's episodes, then write meta/; started: perf_counter() when the command started.

    Raises:
        EpisodesFailed: some episodes could not be converted; quarantine.jsonl lists them.
        OutputFailed: the output folder cannot be written to.
    """
    sources = [spec.path for spec in plan.recipe.sources]
    with (
        explain_write_errors(out),
        claim_output(out, sources, overwrite=rerun.overwrite, reopen=rerun.skip_bad) as scratch,
    ):
        finished_files(out).remove([Path(QUARANTINE)])
        return _Run(out, scratch, workers, started, rerun, watch).finish(plan)


def skip_again(plan: ConversionPlan, ledger: Ledger) -> ConversionPlan:
    """Remove the episodes that an earlier run with skip_bad skipped and that were not fixed since."""
    rest = remove_episodes(plan, {failure.key for failure in ledger.skipped})
    ledger.follow(rest)
    return rest


class _Run:
    """One run: from a plan to a finished dataset."""

    def __init__(self, out: Path, scratch: Path, workers: Workers, started: float, rerun: Rerun, watch: Watch) -> None:
        self.out, self.scratch, self.workers, self.started = out, scratch, workers, started
        self.folders = Folders(out.absolute(), scratch.absolute())
        self.rerun, self.watch = rerun, watch
        self.converted: set[Key] = set()
        self.seconds: Counter[str] = Counter()
        self.executor: Executor | None = None

    def finish(self, plan: ConversionPlan) -> Summary:
        """Convert and commit; with skip_bad, plan again without the failed episodes until none fails."""
        with Ledger(self.out, plan, verify=self.rerun.verify) as ledger:
            plan = leave_out_again(plan, ledger)
            if self.rerun.skip_bad:
                self._retry_skipped(plan, ledger)
                plan = skip_again(plan, ledger)
            while True:
                filtered, failures = split_filtered(self._convert(plan, ledger))
                is_sound = not failures and (self.rerun.skip_bad or not plan.rejected)
                if is_sound and not filtered:
                    return self._commit(self._settle(plan, ledger), ledger)
                if filtered:
                    ledger.skip(filtered)
                    plan = leave_out(plan, filtered)
                    ledger.follow(plan)
                if not is_sound:
                    plan = self._without(failures, plan)
                    ledger.skip(failures)
                    ledger.follow(plan)

    @property
    def _num_readers(self) -> int:
        """Processes that read what was converted."""
        return 1 if self.workers.is_inline else reader_processes()

    def _settle(self, plan: ConversionPlan, ledger: Ledger) -> ConversionPlan:
        """The plan as its episodes turned out to be, once all are converted; their rows get its numbers."""
        plan = remove_unused_tasks(plan, ledger.task_texts())
        if plan.job.has_cuts:
            plan = settle_lengths(plan, ledger.lengths)
            check_horizon(plan)
        ledger.follow(plan)
        on_progress = self.watch.on_renumber
        renumber_rows(plan, ledger, self.out, self.scratch, num_processes=self._num_readers, on_progress=on_progress)
        return plan

    def _convert(self, plan: ConversionPlan, ledger: Ledger) -> list[EpisodeFailure]:
        """Convert the episodes that are not done; returns those that failed or are filtered, in the plan's order."""
        move_episodes(plan, ledger)
        todo = [episode for episode in plan.episodes if not ledger.is_placed(episode)]
        for episode in todo:
            ledger.vacate(episode.index)
        ledger.sync()
        self.watch.on_plan(plan, len(plan.episodes) - len(todo))
        failed = []
        if todo:
            self.executor = choose_executor(self.workers, plan.job, todo)
            # Workers end before an error leads out of the folder that they write to.
            with closing(self.executor.run(todo, plan.job, self.folders)) as results:
                failed = [failure for result in results if (failure := self._take(result, ledger))]
        filtered, failed = split_filtered(failed)
        again = self._retry(failed, plan, self.folders)
        failures = [*filtered, *(failure for result in again if (failure := self._take(result, ledger)))]
        for failure in failures:
            ledger.append(failure)
            self.watch.on_result(failure)
        return sorted(failures, key=lambda failure: failure.index)

    def _take(self, result: EpisodeResult, ledger: Ledger) -> EpisodeFailure | None:
        """Record a converted episode; a failed one is returned instead, as it may be tried again."""
        if isinstance(result, EpisodeFailure):
            if result.code is FaultCode.OUTPUT:
                raise OutputFailed(result.reason).about(result.facts)
            return result
        ledger.append(result)
        self.watch.on_result(result)
        self.converted.add(result.key)
        self.seconds.update(result.seconds)
        return None

    def _retry(
        self, failures: Sequence[EpisodeFailure], plan: ConversionPlan, folders: Folders
    ) -> Iterator[EpisodeResult]:
        if num_tried := sum(first_fault(plan.episodes[failure.index], plan.job) is None for failure in failures):
            self.watch.on_retry(num_tried)
        return retry(failures, plan.episodes, plan.job, folders, is_inline=self.workers.is_inline)

    def _retry_skipped(self, plan: ConversionPlan, ledger: Ledger) -> None:
        """Try the skipped episodes again in a scratch folder; those that fail of their data again stay skipped."""
        planned = {episode.key: episode for episode in plan.episodes}
        skipped = [failure for failure in ledger.skipped if failure.key in planned]
        now = [failure.model_copy(update={"index": planned[failure.key].index}) for failure in skipped]
        tried = Folders(self.folders.scratch / "tried", self.folders.scratch)
        # Disk, network or memory may hide data that can be read by now: planned again, it fails by name.
        again = {
            result.key
            for result in self._retry(now, plan, tried)
            if isinstance(result, EpisodeRecord) or not result.code.is_of_episode
        }
        shutil.rmtree(tried.out, ignore_errors=True)
        if again:
            ledger.unskip(again)

    def _without(self, failures: Sequence[EpisodeFailure], plan: ConversionPlan) -> ConversionPlan:
        told = sorted((*plan.rejected, *failures), key=lambda failure: failure.key)
        if not self.rerun.skip_bad:
            raise write_quarantine(told, plan, self.out, self.scratch)
        try:
            return skip_failed_episodes(plan, failures)
        except MillraceError as why:
            failed = write_quarantine(told, plan, self.out, self.scratch)
            advice = (*failed.advice, Message("nothing was skipped: ", why))
            raise EpisodesFailed(failed.problems, advice, quarantined=failed.quarantined) from why

    def _commit(self, plan: ConversionPlan, ledger: Ledger) -> Summary:
        remove_strays(self.out, plan)
        commit(plan, ledger, self.out, self.scratch, num_processes=self._num_readers)
        summary = summarize(plan, ledger, self.converted, self.seconds, started=self.started)
        return replace(summary, executor=str(self.executor) if self.executor else None)
