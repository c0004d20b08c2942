"""Curves of joints over an episode, beside those of the recording that it was made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.embodiments import Message, MillraceError
from millrace.engine.errors import DatasetError
from millrace.engine.inspection.columns import Columns
from millrace.engine.inspection.episode_rows import read_values
from millrace.engine.report.charts import Floats, draw_curve, fit_scale
from millrace.engine.report.joint_groups import MAX_JOINTS, PlottedGroup, PlottedJoint
from millrace.engine.report.recordings import SourceRecording
from millrace.engine.sources import RowReader, SourceEpisode

NOTHING = ""  # a path that draws nothing


@dataclass(frozen=True)
class CurveChart:
    """State and action of one joint over one episode.

    state, action: paths. limits: heights of the robot's limits that lie within the chart. low, high: values at its
    bottom and top. state_before, action_before: paths of the recording, before it was resampled.
    """

    name: str
    state: str
    action: str
    limits: tuple[float, ...]
    low: str
    high: str
    state_before: str = NOTHING
    action_before: str = NOTHING


@dataclass(frozen=True)
class CurveGroup:
    """The charts of one group of joints. still: joints that do not move in this episode, with their values.

    num_more: joints that are not drawn.
    """

    name: str
    unit: str
    charts: tuple[CurveChart, ...]
    still: tuple[str, ...]
    num_more: int = 0


@dataclass(frozen=True)
class EpisodeCurves:
    """All curves of one episode; why: there are none, or none of its recording. seconds: of the time axis."""

    index: int
    seconds: float
    groups: tuple[CurveGroup, ...]
    why: str = ""


@dataclass(frozen=True, eq=False)
class _Values:
    """An episode's columns, (T, D) each, those of its recording, and where its rows lie on the time axis, (T,)."""

    after: Mapping[str, Floats]
    before: Mapping[str, Floats]
    across: Floats | None = None


def draw_episode(
    episode: SourceEpisode,
    recording: SourceRecording | None,
    *,
    groups: Sequence[PlottedGroup],
    columns: Columns,
    fps: float,
    write: Callable[[str], str],
) -> EpisodeCurves:
    """The curves of one episode; rows that cannot be read give none, and say why.

    Args:
        episode: Its rows are read.
        recording: Of a new dataset, what it was made of.
        groups: The joints to draw.
        columns: Where they lie.
        fps: Of the dataset.
        write: Makes a message fit for the page.
    """
    seconds = episode.num_frames / fps
    try:
        after, _ = read_values(episode, columns, RowReader())
    except MillraceError as error:
        return EpisodeCurves(episode.index, seconds, (), write(error.message))
    values, why = _Values(after, {}), ""
    if recording is not None:
        try:
            values = _add_recording(after, recording, num_frames=episode.num_frames)
            seconds = recording.episode.num_frames / float(recording.binding.fps)
        except (MillraceError, OSError) as error:
            why = f"the recording is not drawn: {write(Message(error))}"
    drawn = tuple(_draw_groups(groups, values))
    why = why if drawn else "no column of joints could be read"
    return EpisodeCurves(episode.index, seconds, drawn, why)


def _add_recording(after: Mapping[str, Floats], recording: SourceRecording, *, num_frames: int) -> _Values:
    """The same time axis for both: that of the recording, on which each row lies where its source frame does."""
    if len(recording.frames) != num_frames:
        raise DatasetError("which of its frames were kept cannot be told")
    across = recording.frames / max(recording.episode.num_frames - 1, 1)
    return _Values(after, recording.read_vectors(), across)


def _draw_groups(groups: Sequence[PlottedGroup], values: _Values) -> Iterator[CurveGroup]:
    num_left = MAX_JOINTS
    for group in groups:
        charts: list[CurveChart] = []
        still: list[str] = []
        for joint in group.joints[:num_left]:
            after, before = (_find_curves(joint, found) for found in (values.after, values.before))
            both = (*after.values(), *before.values())
            ends = {float(end) for curve in both if len(curve) for end in (curve.min(), curve.max())}
            if len(ends) == 1:
                still.append(f"{joint.name} {ends.pop():.4g}")
            elif after:
                charts.append(_draw_joint(joint, after, before, values.across))
        num_left -= len(charts)
        num_more = len(group.joints) - len(charts) - len(still)
        if charts or still or num_left == 0:
            yield CurveGroup(group.name, group.unit, tuple(charts), tuple(still), num_more)


def _find_curves(joint: PlottedJoint, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """State and action of a joint, (T,) each, those that there are."""
    return {
        name: values[place[0]][:, place[1]]
        for name, place in (("state", joint.state), ("action", joint.action))
        if place is not None and place[0] in values
    }


def _draw_joint(
    joint: PlottedJoint, after: Mapping[str, Floats], before: Mapping[str, Floats], across: Floats | None
) -> CurveChart:
    scale = fit_scale(*after.values(), *before.values())
    paths = {name: draw_curve(curve, scale, across) for name, curve in after.items()}
    recorded = {name: draw_curve(curve, scale) for name, curve in before.items()}
    inside = [limit for limit in joint.limits or () if scale.low < limit < scale.high]
    limits = tuple(scale.place(np.array(inside)).round(1).tolist())
    return CurveChart(
        joint.name,
        paths.get("state", NOTHING),
        paths.get("action", NOTHING),
        limits,
        f"{scale.low:.3g}",
        f"{scale.high:.3g}",
        recorded.get("state", NOTHING),
        recorded.get("action", NOTHING),
    )
