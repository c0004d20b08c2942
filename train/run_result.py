"""The outcome of a finetune run as data: its checkpoints, and the last that it logged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from millrace.train.heldout import find_best
from millrace.train.run_folder import checkpoint_step, complete_checkpoints
from millrace.train.run_summary import heldout_by_step, latest_by_step
from millrace.train.settings import FinetuneSettings
from millrace.train.train_progress import LOG, read_events

RunState = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run, read from its folder.

    Args:
        state: finished: all steps are trained; stopped: on request, the same command resumes; failed: of an error.
        run_folder: Of checkpoints and logs.
        log: Its events, a line of JSON each.
        checkpoints: Complete ones, by step.
        best_checkpoint: By its error on held-out episodes; None where none was measured.
        step: Of the newest complete checkpoint; 0 if there is none.
        max_steps: After which the run ends.
        loss: The last that was logged; None where no step was.
        lowest_loss: Of all that were logged.
        heldout_loss, heldout_mse: Of the last evaluation; None where that was not measured.
    """

    state: RunState
    run_folder: Path
    log: Path
    checkpoints: tuple[Path, ...]
    best_checkpoint: Path | None
    step: int
    max_steps: int
    loss: float | None
    lowest_loss: float | None
    heldout_loss: float | None
    heldout_mse: float | None


def read_run_result(settings: FinetuneSettings, state: RunState) -> RunResult:
    """The outcome so far of the run with these settings."""
    folder = settings.run_folder
    events, checkpoints = read_events(folder), complete_checkpoints(folder)
    losses = [reading.loss for reading in latest_by_step(events)]
    measured = [event.heldout for event in heldout_by_step(events)]
    best = find_best(checkpoints)
    return RunResult(
        state=state,
        run_folder=folder,
        log=folder / LOG,
        checkpoints=tuple(checkpoints),
        best_checkpoint=None if best is None else best.checkpoint,
        step=checkpoint_step(checkpoints[-1]) if checkpoints else 0,
        max_steps=settings.max_steps,
        loss=losses[-1] if losses else None,
        lowest_loss=min(losses, default=None),
        heldout_loss=measured[-1].loss if measured else None,
        heldout_mse=measured[-1].mse if measured else None,
    )
