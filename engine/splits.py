"""The datasets that one recipe makes: the train split and the held-out split."""

from collections.abc import Sequence
from pathlib import Path

from millrace.engine.errors import OutputExists
from millrace.engine.layout import LEDGER, MANIFEST, META
from millrace.engine.output.header import read_split
from millrace.engine.output.ledger import Ledger
from millrace.engine.planning.holdout import heldout_folder
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.run import Rerun, as_left

OutputSplit = tuple[ConversionPlan, Path]  # the plan of one of a recipe's datasets, and its folder


def split_folders(plans: Sequence[ConversionPlan], out: Path) -> list[Path]:
    """The folder of each of a recipe's datasets.

    Raises:
        OutputExists: an earlier run held episodes out, which this one would train on.
    """
    held_out = heldout_folder(out)
    if plans[0].split is None and _holds_held_out(held_out):
        raise OutputExists(
            f"{held_out} holds episodes that an earlier run held out of {out}; this one holds none out, and would "
            f"train on them too. Pass the same --holdout, choose another folder, or move {held_out} away"
        )
    return [held_out if plan.split == "held out" else out for plan in plans]


def _holds_held_out(folder: Path) -> bool:
    """Whether a run converted held-out episodes there, or began to."""
    return read_split(folder) == "held out"


def is_finished(plan: ConversionPlan, folder: Path, rerun: Rerun) -> bool:
    """Whether an earlier run of the same recipe finished a dataset.

    Raises:
        OtherRecipe: a run of another recipe finished it.
        OutputExists: it is finished, but its files or its sources were changed since.
    """
    if rerun.overwrite or not (folder / META).is_dir() or not (folder / LEDGER).is_file():
        return False
    with Ledger(folder, plan, is_read_only=True) as ledger:
        num_skipped = len(ledger.skipped)
    if num_skipped and not rerun.skip_bad:
        raise OutputExists(
            f"{folder} is finished, but for {num_skipped} episodes that could not be converted ({MANIFEST} says why). "
            "Pass --skip-bad to leave it so, --retry-skipped to try these again, or --overwrite to make it again"
        )
    had_skipped = num_skipped > len(plan.rejected)
    plan = as_left(plan, folder, rerun)
    with Ledger(folder, plan, verify=rerun.verify, is_read_only=True) as ledger:
        missing = [episode for episode in plan.episodes if episode not in ledger]
        lacking = [episode for episode in missing if ledger.misplaced_record(episode) is None] or missing
        changed = [(episode.index, ledger.reason_not_done(episode)) for episode in missing if ledger.has_lost(episode)]
    if changed:
        index, why = changed[0]
        raise OutputExists(
            f"{folder} holds a finished dataset, but {len(changed)} of its {len(plan.episodes)} episodes were changed "
            f"since, such as {index}: {why}. Keep the dataset if that does no harm, choose another folder, or pass "
            "--overwrite"
        )
    if missing and not rerun.skip_bad:
        raise OutputExists(
            f"{folder} is finished, but lacks {len(lacking)} episodes that can be read by now, such as "
            f"{lacking[0].episode.index} of {plan.recipe.sources[lacking[0].binding].path}. Pass --skip-bad to add them"
        )
    return not (missing or (rerun.retry_skipped and had_skipped))
