"""Progress bars of a conversion, and the summaries printed after it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shlex import quote
from time import perf_counter

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from millrace.commands.cuts_text import print_cuts, print_emptied, print_filtered
from millrace.commands.tables import make_fact_table, make_table, print_line, safe
from millrace.embodiments import Message
from millrace.engine.dataset import EpisodeFailure, EpisodeResult
from millrace.engine.errors import FaultCode, Quarantined
from millrace.engine.layout import CARD, QUARANTINE
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.holdout import HELD_OUT, heldout_folder
from millrace.engine.stores.address import is_store_address
from millrace.engine.summary import Estimate, Summary
from millrace.engine.text import format_count, join_names

SECONDS_BETWEEN_LINES = 10.0


class ConversionProgress:
    """A bar with episodes, output frames per second and time left; without a terminal, a line every 10 seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("episodes  {task.fields[rate]:,.0f} frames/s  time left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, rate=0.0)
        self.num_frames = self.num_done = self.num_resumed = self.num_failed = self.num_episodes = 0
        self.planned, self.kept = Counter[str](), Counter[str]()  # of training and held out
        self.split = ""
        self.started = self.last_line = perf_counter()

    def on_plan(self, plan: ConversionPlan, num_done: int) -> None:
        """Show how many episodes there are, and how many an earlier run converted."""
        self.num_episodes, self.num_resumed = len(plan.episodes), num_done
        self.split = "" if plan.split is None else f" ({plan.split})"
        is_first = not self.planned
        is_again = self.split in self.planned  # without what failed, or without tasks that no row has
        self.planned[self.split], self.kept[self.split] = self.num_episodes + len(plan.rejected), num_done
        self.num_frames = self.num_done = self.num_failed = 0
        self.started = self.last_line = perf_counter()
        what = plan.map.name if len(plan.recipe.sources) == 1 else f"{len(plan.recipe.sources)} sources"
        self.bar.update(self.task, total=self.num_episodes, completed=num_done, description=f"{what}: starting workers")
        if is_again:
            return
        for note in (*plan.notes, *plan.machine_notes) if is_first else ():  # both splits have the same
            self._print(_format_note(note))
        if num_done:
            self._print(f"continuing: {num_done} of {self.num_episodes} episodes are done")

    def on_result(self, result: EpisodeResult) -> None:
        """Count one episode."""
        if isinstance(result, EpisodeFailure):
            self.num_failed += result.code is not FaultCode.FILTERED
        else:
            self.num_frames += result.num_frames
            self.kept[self.split] += 1
        self.num_done += 1
        self.bar.update(self.task, advance=1, rate=self._frames_per_second(), description=self._describe_failed())
        if not self.console.is_terminal and perf_counter() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = perf_counter()
            self._print(self.describe())

    def on_retry(self, num_failed: int) -> None:
        """Print that failed episodes are tried once more, as the bar stands still meanwhile."""
        self.bar.update(self.task, description=f"retrying {num_failed:,} failed")
        self._print(f"trying {format_count(num_failed, 'failed episode')} once more")

    def on_renumber(self, num_done: int, num_all: int) -> None:
        """Show how many episodes have their final numbers of frames."""
        self.bar.update(self.task, total=num_all, completed=num_done, rate=0.0, description="numbering frames")
        if not self.console.is_terminal and perf_counter() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = perf_counter()
            self._print(f"numbering frames: {num_done} of {num_all} episodes")

    def advise(self, out: str, *, skips_bad: bool) -> str:
        """What a run with failed episodes has kept, and how to continue it."""
        kept, planned = sum(self.kept.values()), sum(self.planned.values())
        skip = "" if skips_bad else ", or pass --skip-bad to finish without them"
        others = _below(out, QUARANTINE)
        return (
            f"{kept:,} of {format_count(planned, 'episode')} are converted and kept; {others} lists the "
            f"others: fix them and run the same command again{skip}"
        )

    def print_stopped(self) -> None:
        """Print the progress of a run that ends early."""
        if self.num_episodes:
            done = self.num_resumed + self.num_done - self.num_failed
            self._print(f"{done} of {self.num_episodes} episodes{self.split} are done{self._describe_failed(', ')}")

    def describe(self) -> str:
        """The progress in one line."""
        done = self.num_resumed + self.num_done
        left = (perf_counter() - self.started) * (self.num_episodes - done) / max(self.num_done, 1)
        return (
            f"{done}/{self.num_episodes} episodes, {self._frames_per_second():,.0f} frames/s, "
            f"{timedelta(seconds=round(left))} left{self._describe_failed(', ')}"
        )

    def _frames_per_second(self) -> float:
        return self.num_frames / max(perf_counter() - self.started, 1e-9)

    def _describe_failed(self, before: str = "") -> str:
        return f"{before}{self.num_failed} failed" if self.num_failed else ""

    def _print(self, line: str) -> None:
        print_line(line, self.console)


@contextmanager
def show_stages(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for work in stages; without a terminal, a line every 10 seconds.

    Yields a function of stage, done, and total or None where unknown.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    last_line = perf_counter()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(stage: str, num_done: int, num_all: int | None) -> None:
            nonlocal last_line
            bar.update(task, description=stage, completed=num_done, total=num_all)
            if not console.is_terminal and num_all and perf_counter() - last_line > SECONDS_BETWEEN_LINES:
                last_line = perf_counter()
                print_line(f"{stage}: {num_done / num_all:.0%}", console)

        yield show


def print_summary(summary: Summary, out: str, console: Console) -> None:
    """Print what was converted, and the time by stage."""
    if all(one.had_nothing_to_do for one in (summary, summary.held_out) if one is not None):
        print_line(f"{out} is finished already: nothing to do", console)
        return
    if summary.quarantined:
        print_quarantine(summary.quarantined, console)
    table = make_fact_table()
    resumed = f", {summary.num_resumed:,} of them by an earlier run" if summary.num_resumed else ""
    table.add_row("episodes", f"{summary.num_episodes:,}{resumed}")
    cut = f", {summary.num_cut_frames:,} still ones cut" if summary.num_cut_frames else ""
    table.add_row("frames", f"{summary.num_source_frames:,} in{cut}, {summary.num_frames:,} out")
    copied, encoded = summary.num_copied_clips, summary.num_clips - summary.num_copied_clips
    table.add_row("clips", f"{encoded:,} encoded, {copied:,} copied as they were")
    table.add_row("size", decimal(summary.num_bytes))
    by = "" if summary.executor is None else f", by {summary.executor}"
    table.add_row("time", f"{summary.wall_seconds:.1f} s, {_format_factor(summary.realtime_factor)} x realtime{by}")
    stages = sorted(summary.stage_seconds.items(), key=lambda stage: -stage[1])
    if stages:
        table.add_row("seconds per stage", ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages))
    _add_columns(table, summary.carried, summary.dropped)
    if (held := summary.held_out) is not None:
        table.add_row(
            "held out", f"{format_count(held.num_episodes, 'episode')}, {format_count(held.num_frames, 'frame')}"
        )
    if summary.redone:
        clips = f"{len(summary.redone):,} clips on the CPU, as the GPU did not; the first: {summary.redone[0]}"
        table.add_row("made again", safe(clips))
    if filtered := [*summary.filtered, *(summary.held_out.filtered if summary.held_out is not None else ())]:
        table.add_row("filtered", f"{format_count(len(filtered), 'episode')} left out by the filter")
    if summary.quarantined:
        table.add_row("skipped", f"{format_count(len(summary.quarantined), 'episode')} that could not be converted")
    console.print(table)
    print_filtered(filtered, console, verb="left out")
    print_emptied(summary.held_out.emptied if summary.held_out is not None else (), console)
    for warning in summary.warnings:
        print_line(f"warning: {warning}", console)
    for folder in _written_folders(summary, out):
        print_line(f"wrote {folder}", console)
    folders = dict.fromkeys((out, out if summary.packed is None else summary.packed.folder))
    is_groots = summary.packed is None or len(folders) == 2  # else LeRobot v3.0, which GR00T does not read
    checks = "; ".join(f"millrace validate {quote(folder)}" for folder in folders)
    print_line(f"next: {checks}; {_below(out, CARD)} says how to {'train on' if is_groots else 'load'} it", console)


def _written_folders(summary: Summary, out: str) -> Iterator[str]:
    """The folders of a run that wrote something."""
    held_out = f"{out}{HELD_OUT}" if is_store_address(out) else str(heldout_folder(Path(out)))
    for one, folder in ((summary, out), (summary.held_out, held_out)):
        if one is not None:
            packed = one.packed.folder if one.packed is not None else folder
            yield from dict.fromkeys((folder, packed))


def _below(out: str, name: str) -> str:
    """A file of a dataset, in a folder or a store."""
    return f"{out}/{name}" if is_store_address(out) else str(Path(out) / name)


def print_quarantine(found: Sequence[Quarantined], console: Console) -> None:
    """Print a table of failed episodes, a row for each error code."""
    by_code: dict[str, list[Quarantined]] = {}
    for one in found:
        by_code.setdefault(one.code.value, []).append(one)
    rows = []
    for code, same_code in sorted(by_code.items()):
        episodes = join_names(list(dict.fromkeys(str(one.episode) for one in same_code)))
        rows.append((code, f"{len(same_code):,}", episodes, same_code[0].reason))
    console.print(make_table(("fault", "num", "episodes", "the first of them"), rows))


def print_estimate(estimate: Estimate, num_workers: int, console: Console) -> None:
    """Print what would be done, and whether it fits on the disk."""
    table = make_fact_table()
    table.add_row("episodes", f"{estimate.num_episodes:,}")
    table.add_row("frames", f"{estimate.num_source_frames:,} in, {estimate.num_frames:,} out")
    if (num_copied := estimate.num_copied_clips) is not None:
        rest = f"{estimate.num_clips - num_copied:,} encoded, {num_copied:,} copied as they are"
        table.add_row("clips", f"about {rest} (judged by one episode of each source)")
    here = "" if estimate.num_bytes_here == estimate.num_bytes else f"; here {decimal(estimate.num_bytes_here)}"
    table.add_row("size", f"about {decimal(estimate.num_bytes)}{here}, of {decimal(estimate.free_bytes)} free")
    table.add_row("", f"and {decimal(estimate.num_scratch_bytes)} while statistics are computed at the end")
    table.add_row(
        "time",
        f"{_format_time(estimate, num_workers)} on {format_count(num_workers, 'core')} (measured on one episode)",
    )
    for source, episodes in estimate.held_out.items():
        held = f"{format_count(len(episodes), 'episode')} of {source}: {join_names(list(map(str, episodes)))}"
        table.add_row("would hold out", safe(held))
    _add_columns(table, estimate.carried, estimate.dropped)
    console.print(table)
    for note in estimate.notes:
        print_line(_format_note(note), console)
    print_filtered(estimate.filtered, console, verb="would leave out")
    print_emptied(estimate.emptied, console)
    print_cuts(estimate.cuts, console)
    if (needed := estimate.num_bytes_here + estimate.num_scratch_bytes) > estimate.free_bytes:
        short = f"too little space: about {decimal(needed)} needed, {decimal(estimate.free_bytes)} free"
        print_line(f"warning: {short}", console)
    console.print("dry run: nothing was written")


def _format_time(estimate: Estimate, num_workers: int) -> str:
    seconds = round(estimate.core_seconds / num_workers)
    return f"about {timedelta(seconds=seconds)}" if seconds else "less than a second"


def _format_factor(factor: float) -> str:
    return f"{factor:.2g}" if factor < 1 else f"{factor:.0f}"


def _format_note(note: str) -> str:
    """A note as a line; warnings begin with "warning" themselves."""
    return note if note.startswith("warning: ") else Message("note: ", note)


def _add_columns(table: Table, carried: Iterable[str], dropped: Iterable[str]) -> None:
    for heading, columns in (("carried columns", carried), ("dropped columns", dropped)):
        if names := ", ".join(columns):
            table.add_row(heading, safe(names))
