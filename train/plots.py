"""Plot an episode: every joint of every group, predicted against recorded."""

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millrace.embodiments import Remedy
from millrace.train.episodes import joint_names
from millrace.train.errors import SettingsError
from millrace.train.open_loop import GroupTrace, Trace
from millrace.train.scores import Score
from millrace.train.training_dataset import TrainingDataset

NUM_COLUMNS = 4
PANEL_INCHES = (4.0, 1.7)
TITLE_INCHES = 0.45
RECORDED, PREDICTED, HELD = "black", "tab:orange", "tab:blue"


class PlotFolder:
    """Draws plots of a dataset's episodes, in a folder for each checkpoint.

    Raises:
        SettingsError: matplotlib is not installed, which is better known before there is anything to draw.
    """

    def __init__(self, folder: Path, dataset: TrainingDataset) -> None:
        if find_spec("matplotlib") is None:
            raise SettingsError("--plots needs matplotlib: ", Remedy("pip install matplotlib"))
        self.folder, self.dataset = folder, dataset

    def draw(self, name: str, trace: Trace) -> Path:
        """Draw the plot of an episode for a checkpoint, or server."""
        path = self.folder / folder_name(name) / f"episode_{trace.episode:06d}.png"
        joints = {group: joint_names(self.dataset, group) for group in trace.groups}
        draw_trace(trace, path, title=f"{self.dataset.root}, episode {trace.episode}, by frame; {name}", joints=joints)
        return path


def draw_trace(trace: Trace, path: Path, *, title: str, joints: Mapping[str, Sequence[str]]) -> None:
    """Write a PNG with a panel for each joint, group under group.

    Args:
        trace: What to draw.
        path: Of the PNG.
        title: Over all panels.
        joints: Names of each group's values.
    """
    # Not pyplot: that holds figures open, and asks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = trace.score().groups
    heights = [_num_rows(group) * PANEL_INCHES[1] + TITLE_INCHES for group in trace.groups.values()]
    size = (NUM_COLUMNS * PANEL_INCHES[0], sum(heights) + 2 * TITLE_INCHES)
    figure = Figure(figsize=size, dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (name, group) in zip(parts, trace.groups.items(), strict=True):
        part.suptitle(f"{name}: {_told(scores[name])}", x=0.01, ha="left", fontsize="medium")
        _draw_group(part, trace, group, joints[name])
    lines = parts[0].axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=len(lines[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_group(figure: Any, trace: Trace, group: GroupTrace, names: Sequence[str]) -> None:
    axes = figure.subplots(_num_rows(group), NUM_COLUMNS, squeeze=False, sharex=True).ravel()
    for number, (panel, name) in enumerate(zip(axes, names, strict=False)):
        if group.held is not None:
            panel.plot(trace.rows, group.held[:, number], color=HELD, linewidth=0.8, label="holding still")
        panel.plot(trace.rows, group.recorded[:, number], color=RECORDED, linewidth=1.4, label="recorded")
        panel.plot(trace.rows, group.predicted[:, number], color=PREDICTED, linewidth=1.0, label="predicted")
        for step in trace.steps:
            panel.axvline(step, color="0.9", linewidth=0.6, zorder=0)
        panel.set_title(name, fontsize="small")
        panel.tick_params(labelsize="x-small")
    for panel in axes[len(names) :]:
        panel.set_visible(False)


def _num_rows(group: GroupTrace) -> int:
    num_joints: int = group.recorded.shape[-1]
    return math.ceil(num_joints / NUM_COLUMNS)


def _told(score: Score) -> str:
    held = "" if score.hold_mse is None else f" (holding still {score.hold_mse:.4g}, {score.hold_mae:.4g})"
    return f"MSE {score.mse:.4g}, MAE {score.mae:.4g}{held}"


def folder_name(name: str) -> str:
    """A checkpoint's last two folders, as checkpoint-5000 alone may be that of any run."""
    return "_".join(part.replace(":", "_") for part in Path(name).parts[-2:] if part != "/")
