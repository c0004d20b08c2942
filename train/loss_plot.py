"""Plot a run: losses, open-loop error and waiting for data by step."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millrace.train.run_summary import heldout_by_step, latest_by_step
from millrace.train.train_progress import Evaluated, MeterReading, read_events

LOSSES = "losses.png"
SIZE_INCHES = (9.0, 7.0)
TRAINED, HELD_OUT, WAITING = "black", "tab:orange", "tab:blue"


def draw_losses(folder: Path) -> Path | None:
    """Write losses.png beside a run's log; None where nothing is logged or matplotlib is not installed."""
    events = read_events(folder)
    readings, evaluated = latest_by_step(events), heldout_by_step(events)
    if not readings or find_spec("matplotlib") is None:
        return None
    # Not pyplot: that holds figures open, and asks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(str(folder))
    has_open_loop = any(event.heldout.mse is not None for event in evaluated)
    panels = figure.subplots(3 if has_open_loop else 2, 1, sharex=True)
    _draw_loss(panels[0], readings, evaluated)
    if has_open_loop:
        _draw_open_loop(panels[1], evaluated)
    _draw_waiting(panels[-1], readings)
    panels[-1].set_xlabel("step")
    figure.savefig(folder / LOSSES)
    return folder / LOSSES


def _draw_loss(panel: Any, readings: Sequence[MeterReading], evaluated: Sequence[Evaluated]) -> None:
    steps = [reading.step for reading in readings]
    panel.plot(steps, [reading.loss for reading in readings], color=TRAINED, linewidth=1.0, label="training")
    if evaluated:
        losses = [event.heldout.loss for event in evaluated]
        panel.plot([event.step for event in evaluated], losses, "o-", color=HELD_OUT, markersize=3, label="held out")
    if all(reading.loss > 0 for reading in readings):
        panel.set_yscale("log")
    panel.set_ylabel("loss")
    panel.legend(loc="upper right")


def _draw_open_loop(panel: Any, evaluated: Sequence[Evaluated]) -> None:
    measured = [event for event in evaluated if event.heldout.mae is not None]
    steps = [event.step for event in measured]
    for group in measured[-1].heldout.group_mae:
        values = [event.heldout.group_mae.get(group, float("nan")) for event in measured]
        panel.plot(steps, values, "o-", markersize=3, linewidth=1.0, label=group)
    panel.set_ylabel("open-loop MAE, held out")
    panel.legend(loc="upper right", fontsize="small")


def _draw_waiting(panel: Any, readings: Sequence[MeterReading]) -> None:
    steps = [reading.step for reading in readings]
    panel.plot(steps, [100 * reading.data_wait_share for reading in readings], color=WAITING, linewidth=1.0)
    panel.set_ylim(0, 100)
    panel.set_ylabel("waiting for data, %")
