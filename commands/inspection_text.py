"""Print an inspection to a terminal."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from millrace.commands.tables import make_fact_table, make_table, print_line, safe
from millrace.embodiments import Message
from millrace.engine.inspection.facts import CameraFacts, Inspection
from millrace.engine.inspection.findings import SEVERITIES, Finding
from millrace.engine.planning.binding import BOOKKEEPING
from millrace.engine.text import format_count, join_names

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
MAX_TASKS = 10
MAX_OF_A_CODE = 3
MAX_NAMES = 8
MAX_SECONDS = timedelta(days=365_000).total_seconds()
CAMERAS = ("video", "image")


def print_inspection(inspection: Inspection, console: Console) -> None:
    """Print facts, cameras, columns, findings, and the next command."""
    if not inspection.is_open:
        _print_unopened(inspection, console)
        return
    console.print(_facts(inspection))
    if inspection.cameras:
        console.print(_cameras(inspection.cameras))
    console.print(_features(inspection))
    _print_findings(inspection, console)
    if num_errors := sum(finding.severity == "error" for finding in inspection.findings):
        advice = "convert names the episodes that fail; --skip-bad finishes without them"
        print_line(f"{format_count(num_errors, 'error')} first: fix the dataset, or go on: {advice}", console)
    for number, command in enumerate(inspection.robot.commands):
        if not number:
            console.print()
        print_line(Message("then: " if number else "next: ", command), console)
    if len(inspection.robot.maps) > 1:
        print_line(f"maps from '{inspection.robot.name}': {', '.join(inspection.robot.maps)}", console)


def _print_unopened(inspection: Inspection, console: Console) -> None:
    """Print what a folder holds that cannot be opened as a dataset, and why it cannot."""
    table = make_fact_table()
    table.add_row("folder", safe(inspection.root))
    version = inspection.codebase_version
    table.add_row("layout", safe(inspection.layout) + ("" if version is None else f" (info.json says {safe(version)})"))
    for facts in inspection.files:
        table.add_row(safe(facts.suffix), f"{facts.num_files:,} files, {decimal(facts.num_bytes)}")
    if not inspection.files:
        table.add_row("files", "none")
    console.print(table)
    for finding in inspection.findings:
        console.print(_line(finding), soft_wrap=True, highlight=False)
    console.print()
    print_line(Message("next: ", inspection.next_step), console)


def _facts(inspection: Inspection) -> Table:
    assert inspection.fps is not None, "an opened dataset has a rate"
    table = make_fact_table()
    shortest, longest = (frames / inspection.fps for frames in (inspection.shortest_frames, inspection.longest_frames))
    frames = f"{inspection.num_frames:,}, {_hours(inspection.duration_seconds)}"
    robot = inspection.robot
    table.add_row("dataset", safe(inspection.address or inspection.root))
    table.add_row("layout", safe(inspection.layout))
    sure = "" if robot.name is None else f" ({robot.confidence})"
    table.add_row("robot", f"{safe(robot.name or 'unknown')}: {safe(robot.reason)}{sure}")
    if inspection.robot_type is not None:
        table.add_row("", f"(info.json says '{safe(inspection.robot_type)}')")
    table.add_row("fps", f"{inspection.fps:.4g}")
    lengths = f"{shortest:.1f} s" if shortest == longest else f"{shortest:.1f} to {longest:.1f} s"
    table.add_row("episodes", f"{inspection.num_episodes:,}, of {lengths}")
    table.add_row("frames", frames)
    table.add_row("size", f"rows {decimal(inspection.num_rows_bytes)}, videos {decimal(inspection.num_video_bytes)}")
    if inspection.motion.idle_share is not None:
        motion = inspection.motion
        table.add_row("standing still", f"{motion.idle_share:.0%} of the frames, within {safe(motion.still_text)}")
    for number, task in enumerate(inspection.tasks[:MAX_TASKS]):
        episodes = f"{task.num_episodes:,} episode{'s' * (task.num_episodes != 1)}"
        table.add_row("" if number else "tasks", f"{safe(task.task)}  [dim]{episodes}[/]")
    if len(inspection.tasks) > MAX_TASKS:
        table.add_row("", f"and {len(inspection.tasks) - MAX_TASKS:,} more tasks")
    if not inspection.tasks:
        table.add_row("tasks", "none")
    return table


def _hours(seconds: float) -> str:
    """A duration as text; in seconds where only a wrong rate explains it."""
    return f"{timedelta(seconds=round(seconds))} h" if seconds < MAX_SECONDS else f"{seconds:.4g} s"


def _cameras(cameras: Sequence[CameraFacts]) -> Table:
    rows = []
    for camera in cameras:
        size = None if camera.width is None else f"{camera.width}x{camera.height}"
        fps = None if camera.fps is None else f"{camera.fps:.4g}"
        num_bytes = None if camera.bytes_per_frame is None else decimal(round(camera.bytes_per_frame))
        values = (camera.codec, camera.pix_fmt, size, fps, camera.gop, camera.color_range, num_bytes)
        rows.append((camera.name, *("?" if value is None else str(value) for value in values)))
    return make_table(("camera", "codec", "pixels", "size", "fps", "GOP", "range", "a frame"), rows)


def _features(inspection: Inspection) -> Table:
    rows = []
    for feature in inspection.features:
        if feature.dtype not in CAMERAS and feature.name not in BOOKKEEPING:
            names = join_names(list(feature.names or ()), MAX_NAMES)
            rows.append((feature.name, feature.dtype, "x".join(map(str, feature.shape)), names))
    return make_table(("column", "type", "shape", "names"), rows)


def _print_findings(inspection: Inspection, console: Console) -> None:
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in inspection.findings:
        by_code[finding.code].append(finding)
    for findings in by_code.values():
        for finding in findings[:MAX_OF_A_CODE]:
            console.print(_line(finding), soft_wrap=True, highlight=False)
        if len(findings) > MAX_OF_A_CODE:
            more = f"{_head(findings[0])}  and {len(findings) - MAX_OF_A_CODE:,} more of this kind"
            console.print(more, soft_wrap=True, highlight=False)
    console.print()
    print_line(_verdict(inspection), console)


def _line(finding: Finding) -> str:
    episode = "" if finding.episode is None else f"episode {finding.episode}"
    camera = "" if finding.camera is None else f"camera {safe(finding.camera)}"
    where = ", ".join(part for part in (episode, camera) if part)
    return f"{_head(finding)}  {where}{': ' if where else ''}{safe(finding.message)}"


def _head(finding: Finding) -> str:
    return f"[{STYLES[finding.severity]}]{finding.severity:7}[/]  [bold]{finding.code}[/]"


def _verdict(inspection: Inspection) -> str:
    """The number of findings, and how much was inspected."""
    counts = {severity: sum(finding.severity == severity for finding in inspection.findings) for severity in SEVERITIES}
    nouns = {"error": "error", "warning": "warning", "info": "note"}
    words = [f"{number:,} {nouns[severity]}{'s' * (number != 1)}" for severity, number in counts.items() if number]
    return (
        f"{', '.join(words) or 'nothing found'}; looked into {inspection.num_inspected:,} of "
        f"{inspection.num_episodes:,} episodes, and at frames of {inspection.num_watched:,}"
    )
