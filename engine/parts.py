"""The datasets that one recipe makes: for training, and what is held out of it."""

from collections.abc import Sequence
from pathlib import Path

from engine.holdout import heldout_folder
from engine.layout import LEDGER, META
from engine.ledger import Ledger
from engine.plan import ConversionPlan

OutputPart = tuple[ConversionPlan, Path]  # what one of a recipe's datasets holds, and where it goes


def part_folders(plans: Sequence[ConversionPlan], out: Path) -> list[Path]:
    """Where each of a recipe's datasets goes."""
    return [heldout_folder(out) if plan.part == "held out" else out for plan in plans]


def unfinished(parts: list[OutputPart]) -> list[OutputPart]:
    """The datasets that are still to be made, where an earlier run made the others; all if it made all or none."""
    has_meta = [(folder / META).is_dir() for _, folder in parts]
    if all(has_meta) or not any(has_meta):
        return parts
    return [part for part, is_begun in zip(parts, has_meta, strict=True) if not (is_begun and _is_whole(*part))]


def _is_whole(plan: ConversionPlan, folder: Path) -> bool:
    """Whether an earlier run of the same recipe made all of a dataset."""
    if not (folder / LEDGER).is_file():
        return False
    with Ledger(folder, plan) as ledger:
        return all(episode in ledger for episode in plan.episodes)
