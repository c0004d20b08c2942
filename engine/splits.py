"""The datasets that one recipe makes: the train split and the held-out split."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.errors import OutputExists
from millrace.engine.layout import MANIFEST
from millrace.engine.output.filtered import leave_out_again
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.state import OutputState
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.numbering import remove_unused_tasks, settle_lengths
from millrace.engine.planning.planner import PreparedRecipe
from millrace.engine.run import Rerun, skip_again
from millrace.engine.summary import Summary, summarize

SKIP_BAD = Setting("skip_bad", True)


def read_states(out: Path, *, overwrite: bool) -> tuple[OutputState, OutputState]:
    """The states of the folders of the train split, or of all episodes, and of the held-out split."""
    folders = out, heldout_folder(out)
    train, held_out = (OutputState(folder) if overwrite else OutputState.read(folder) for folder in folders)
    return train, held_out


def states_of_splits(prepared: PreparedRecipe, train: OutputState, held_out: OutputState) -> tuple[OutputState, ...]:
    """The states of the folders that this recipe writes to, in the order of its splits.

    Raises:
        OutputExists: an earlier run held episodes out, which this one would train on.
    """
    if len(prepared.splits) == 2:
        return train, held_out
    if OutputState.read(held_out.folder).split == "held out":
        problem = (
            f"{held_out.folder} holds episodes that an earlier run held out of {train.folder}; this one holds none "
            "out, and would train on them too. "
        )
        others = f", choose another folder, or move {held_out.folder} away"
        raise OutputExists(problem, Remedy("Pass the same ", Setting("holdout"), others), file=held_out.folder)
    return (train,)


def finished_summary(plan: ConversionPlan, state: OutputState, rerun: Rerun) -> Summary | None:
    """The summary of a dataset that an earlier run of the same recipe finished; None where there is work to do.

    Raises:
        OtherRecipe: a run of another recipe finished it.
        OutputExists: it is finished, but its files or its sources were changed since.
    """
    if state.progress != "finished":
        return None
    with (
        explain_write_errors(state.folder),
        Ledger(state.folder, plan, verify=rerun.verify, is_read_only=True) as ledger,
    ):
        plan = leave_out_again(plan, ledger)
        num_skipped = len(ledger.skipped)
        if num_skipped and not rerun.skip_bad:
            problem = f"{state.folder} is finished, but for {num_skipped} episodes that could not be converted"
            leave, again = (SKIP_BAD, " to leave it so, "), (Setting("retry_skipped", True), " to try these again, or ")
            advice = Remedy("Pass ", *leave, *again, Setting("overwrite", True), " to make it again")
            raise OutputExists(problem, f" ({MANIFEST} says why). ", advice, file=state.folder)
        had_skipped = num_skipped > len(plan.rejected)
        plan = skip_again(plan, ledger) if rerun.skip_bad else plan
        plan = settle_lengths(remove_unused_tasks(plan, ledger.task_texts()), ledger.lengths)
        ledger.follow(plan)
        has_all = _check_episodes(plan, ledger, state.folder, rerun)
        if not has_all or (rerun.retry_skipped and had_skipped):
            return None
        return replace(summarize(plan, ledger, (), {}, started=perf_counter()), was_finished=True)


def _check_episodes(plan: ConversionPlan, ledger: Ledger, folder: Path, rerun: Rerun) -> bool:
    """Whether a finished dataset holds every episode, unchanged."""
    missing = [episode for episode in plan.episodes if episode not in ledger]
    lacking = [episode for episode in missing if ledger.misplaced_record(episode) is None] or missing
    changed = [(episode.index, ledger.reason_not_done(episode)) for episode in missing if ledger.has_lost(episode)]
    if changed:
        index, why = changed[0]
        problem = (
            f"{folder} holds a finished dataset, but {len(changed)} of its {len(plan.episodes)} episodes were changed "
            f"since, such as {index}: {why}. "
        )
        keep = "Keep the dataset if that does no harm, choose another folder, or pass "
        raise OutputExists(problem, Remedy(keep, Setting("overwrite", True)), file=folder, episode=index)
    if missing and not rerun.skip_bad:
        first = f"{lacking[0].episode.index} of {plan.recipe.sources[lacking[0].binding].path}"
        problem = f"{folder} is finished, but lacks {len(lacking)} episodes that can be read by now, such as {first}"
        raise OutputExists(problem, ". ", Remedy("Pass ", SKIP_BAD, " to add them"), file=folder)
    return not missing
