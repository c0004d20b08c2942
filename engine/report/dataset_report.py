"""All that a report shows, as texts and numbers that a page needs only lay out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.filesize import decimal

from millrace.engine.about import VERSION
from millrace.engine.dataset.problems import Judgement
from millrace.engine.inspection.facts import CameraFacts, Inspection
from millrace.engine.planning.binding import BOOKKEEPING
from millrace.engine.report.charts import Histogram, draw_histogram
from millrace.engine.report.curves import EpisodeCurves
from millrace.engine.report.finding_groups import (
    FindingGroup,
    Verdict,
    count_found,
    group_found,
    list_failures,
    list_found,
)
from millrace.engine.report.grippers import GripperRow
from millrace.engine.report.joint_groups import PlottedGroup
from millrace.engine.report.origins import Origins
from millrace.engine.report.ranges import RangeGroup
from millrace.engine.report.strips import ShownEpisode
from millrace.engine.text import format_count, format_duration, join_names, printable

MAX_ROWS, MAX_NAMES = 100, 64


@dataclass(frozen=True)
class Fact:
    """One fact of a dataset and its name."""

    name: str
    text: str


@dataclass(frozen=True)
class TextTable:
    """A table of texts; more: what was left out, in words."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str = ""


@dataclass(frozen=True)
class Drawn:
    """What is shown of rows and frames. has_recordings: beside what they were made of."""

    episodes: tuple[ShownEpisode, ...]
    groups: tuple[PlottedGroup, ...]
    ranges: tuple[RangeGroup, ...]
    curves: tuple[EpisodeCurves, ...]
    grippers: tuple[GripperRow, ...] = ()
    has_recordings: bool = False


@dataclass(frozen=True)
class DatasetReport:
    """All that the page shows of a dataset."""

    title: str
    subtitle: str
    version: str
    verdicts: tuple[Verdict, ...]
    tiles: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    findings: tuple[FindingGroup, ...]
    inspected: str
    drawn: Drawn
    histograms: tuple[Histogram, ...]
    origins: Origins | None
    tasks: TextTable
    cameras: TextTable
    columns: TextTable


def describe_dataset(
    inspection: Inspection,
    drawn: Drawn,
    origins: Origins | None,
    *,
    title: str,
    judgement: Judgement | None,
    write: Callable[[str], str],
) -> DatasetReport:
    """What a page shows of an inspection.

    Args:
        inspection: Of a dataset that could be opened.
        drawn: What was drawn of it.
        origins: Where it comes from; None: Millrace did not make it.
        title: Of the page.
        judgement: What `validate` found, where it was asked.
        write: Makes a message fit for the page.
    """
    failures = () if origins is None else origins.failures
    found = [*list_failures(failures), *list_found(inspection.findings, judgement, write)]
    robot = inspection.robot.name or printable(inspection.robot_type or "unknown robot")
    return DatasetReport(
        title=printable(title),
        subtitle=write(f"{robot}, {inspection.layout}"),
        version=VERSION,
        verdicts=tuple(count_found(found)),
        tiles=tuple(_tiles(inspection)),
        facts=tuple(Fact(fact.name, write(fact.text)) for fact in _facts(inspection, drawn)),
        findings=tuple(group_found(found, drawn.episodes)),
        inspected=_describe_scope(inspection),
        drawn=drawn,
        histograms=tuple(filter(None, _histograms(inspection))),
        origins=origins,
        tasks=_tasks(inspection),
        cameras=_cameras(inspection.cameras),
        columns=_columns(inspection),
    )


def _describe_scope(inspection: Inspection) -> str:
    episodes = format_count(inspection.num_episodes, "episode")
    read = f"Rows and video headers of {inspection.num_inspected:,} of {episodes} were read"
    return f"{read}, and frames of {inspection.num_watched:,} were sampled."


def _tiles(inspection: Inspection) -> Iterator[Fact]:
    yield Fact("episode" if inspection.num_episodes == 1 else "episodes", f"{inspection.num_episodes:,}")
    yield Fact("duration", format_duration(inspection.duration_seconds))
    yield Fact("frames", f"{inspection.num_frames:,}")
    yield Fact("rate", f"{inspection.fps or 0:.4g} Hz")
    yield Fact("camera" if len(inspection.cameras) == 1 else "cameras", f"{len(inspection.cameras)}")
    yield Fact("size", decimal(inspection.num_rows_bytes + inspection.num_video_bytes))


def _facts(inspection: Inspection, drawn: Drawn) -> Iterator[Fact]:
    robot, motion, fps = inspection.robot, inspection.motion, inspection.fps or 1.0
    sure = "" if robot.name is None else f" ({robot.confidence})"
    yield Fact("robot", f"{robot.name or 'unknown'}: {robot.reason}{sure}")
    if inspection.robot_type is not None and inspection.robot_type != robot.name:
        yield Fact("robot in info.json", inspection.robot_type)
    for group in drawn.groups:
        unit = f" [{group.unit}]" if group.unit else ""
        yield Fact(f"{group.name}{unit}", join_names([joint.name for joint in group.joints], MAX_NAMES))
    shortest, longest = inspection.shortest_frames / fps, inspection.longest_frames / fps
    yield Fact("episode length", f"{shortest:.1f} s" if shortest == longest else f"{shortest:.1f} to {longest:.1f} s")
    rows, videos = decimal(inspection.num_rows_bytes), decimal(inspection.num_video_bytes)
    yield Fact("files", f"rows {rows}, videos {videos}")
    if motion.idle_share is not None:
        yield Fact("standing still", f"{motion.idle_share:.0%} of the frames, within {motion.still_text}")
    if motion.lag_frames is not None and motion.lag_seconds is not None:
        frames = format_count(abs(motion.lag_frames), "frame")
        way = "follows the action by" if motion.lag_frames >= 0 else "comes before the action by"
        yield Fact("state", f"{way} {frames} ({abs(motion.lag_seconds) * 1000:.0f} ms)")
    for command in robot.commands:
        yield Fact("next step", command)


def _histograms(inspection: Inspection) -> Iterator[Histogram | None]:
    fps, episodes = inspection.fps or 1.0, inspection.episodes
    yield draw_histogram(
        "Episode length", [one.num_frames / fps for one in episodes], unit="s", note="How long episodes are."
    )
    idle = [100 * one.num_idle / one.num_frames for one in episodes if one.num_idle is not None]
    note = "Share of each episode in which no joint moves for a second or more."
    yield draw_histogram("Idle time", idle, unit="%", note=note)
    lags = [1000 * one.lag_frames / fps for one in episodes if one.lag_frames is not None]
    note = "How long the state takes to follow the action, where they go together."
    yield draw_histogram("Action to state lag", lags, unit="ms", note=note)


def _tasks(inspection: Inspection) -> TextTable:
    rows = [(printable(task.task), f"{task.num_episodes:,}") for task in inspection.tasks[:MAX_ROWS]]
    num_more = len(inspection.tasks) - len(rows)
    return TextTable(("task", "episodes"), tuple(rows), f"and {num_more:,} more tasks" if num_more else "")


def _cameras(cameras: tuple[CameraFacts, ...]) -> TextTable:
    rows = []
    for camera in cameras[:MAX_ROWS]:
        size = None if camera.width is None else f"{camera.width} x {camera.height}"
        num_bytes = None if camera.bytes_per_frame is None else decimal(round(camera.bytes_per_frame))
        fps = None if camera.fps is None else f"{camera.fps:.4g} Hz"
        values = (camera.codec, size, fps, camera.pix_fmt, camera.gop, camera.color_range, num_bytes)
        rows.append((printable(camera.name), *("?" if value is None else str(value) for value in values)))
    num_more = len(cameras) - len(rows)
    titles = ("camera", "codec", "size", "rate", "pixels", "key frame every", "range", "a frame")
    return TextTable(titles, tuple(rows), f"and {num_more:,} more cameras" if num_more else "")


def _columns(inspection: Inspection) -> TextTable:
    features = [
        feature
        for feature in inspection.features
        if feature.dtype not in ("video", "image") and feature.name not in BOOKKEEPING
    ]
    rows = tuple(
        (
            printable(feature.name),
            printable(feature.dtype),
            " x ".join(map(str, feature.shape)),
            printable(join_names(list(feature.names or ()), MAX_NAMES)),
        )
        for feature in features[:MAX_ROWS]
    )
    num_more = len(features) - len(rows)
    return TextTable(("column", "type", "shape", "names"), rows, f"and {num_more:,} more columns" if num_more else "")
