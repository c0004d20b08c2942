"""Curves of joints over an episode."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.embodiments import MillraceError
from millrace.engine.inspection.columns import Columns
from millrace.engine.inspection.episode_rows import read_values
from millrace.engine.report.charts import Floats, draw_curve, fit_scale
from millrace.engine.report.joint_groups import MAX_JOINTS, PlottedGroup, PlottedJoint
from millrace.engine.sources import RowReader, SourceEpisode

NOTHING = ""  # a path that draws nothing


@dataclass(frozen=True)
class CurveChart:
    """State and action of one joint over one episode.

    state, action: paths. limits: heights of the robot's limits that lie within the chart. low, high: values at its
    bottom and top.
    """

    name: str
    state: str
    action: str
    limits: tuple[float, ...]
    low: str
    high: str


@dataclass(frozen=True)
class CurveGroup:
    """The charts of one group of joints. still: joints that do not move in this episode, with their values."""

    name: str
    unit: str
    charts: tuple[CurveChart, ...]
    still: tuple[str, ...]


@dataclass(frozen=True)
class EpisodeCurves:
    """All curves of one episode; why: there are none."""

    index: int
    seconds: float
    groups: tuple[CurveGroup, ...]
    why: str = ""


def draw_episode(
    episode: SourceEpisode, groups: Sequence[PlottedGroup], columns: Columns, *, fps: float, write: Callable[[str], str]
) -> EpisodeCurves:
    """The curves of one episode; rows that cannot be read give none, and say why.

    Args:
        episode: Its rows are read.
        groups: The joints to draw.
        columns: Where they lie.
        fps: Of the dataset.
        write: Makes a message fit for the page.
    """
    seconds = episode.num_frames / fps
    try:
        values, _ = read_values(episode, columns, RowReader())
    except MillraceError as error:
        return EpisodeCurves(episode.index, seconds, (), write(error.message))
    drawn = []
    num_left = MAX_JOINTS
    for group in groups:
        charts: list[CurveChart] = []
        still: list[str] = []
        for joint in group.joints[:num_left]:
            curves = _find_curves(joint, values)
            ends = {float(end) for curve in curves.values() for end in (curve.min(), curve.max())}
            if len(ends) == 1:
                still.append(f"{joint.name} {ends.pop():.4g}")
            elif curves:
                charts.append(_draw_joint(joint, curves))
        num_left -= len(charts)
        if charts or still:
            drawn.append(CurveGroup(group.name, group.unit, tuple(charts), tuple(still)))
    return EpisodeCurves(episode.index, seconds, tuple(drawn), "" if drawn else "no column of joints could be read")


def _find_curves(joint: PlottedJoint, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """State and action of a joint, (T,) each, those that there are."""
    return {
        name: values[place[0]][:, place[1]]
        for name, place in (("state", joint.state), ("action", joint.action))
        if place is not None and place[0] in values
    }


def _draw_joint(joint: PlottedJoint, curves: Mapping[str, Floats]) -> CurveChart:
    scale = fit_scale(*curves.values())
    paths = {name: draw_curve(curve, scale) for name, curve in curves.items()}
    inside = [limit for limit in joint.limits or () if scale.low < limit < scale.high]
    limits = tuple(scale.place(np.array(inside)).round(1).tolist())
    return CurveChart(
        joint.name,
        paths.get("state", NOTHING),
        paths.get("action", NOTHING),
        limits,
        f"{scale.low:.3g}",
        f"{scale.high:.3g}",
    )
