"""The events of a run on the terminal: a line or a bar."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from millrace.train.run_summary import Loaders, WaitingWatch
from millrace.train.train_progress import (
    LOG,
    AnyEvent,
    BatchChosen,
    Evaluated,
    Failed,
    MeterReading,
    Noted,
    Saved,
    Started,
    Waiting,
    parse_events,
    whole_lines,
)

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def show_events(folder: Path, console: Console, loaders: Loaders) -> Iterator[None]:
    """Show events as they are logged: the log lies where all nodes write, so this works from any of them.

    Args:
        folder: Of the run.
        console: Where they are shown.
        loaders: Of each worker, by which is judged what to do about waiting for data.
    """
    log, ended = folder / LOG, threading.Event()
    earlier = log.stat().st_size if log.exists() else 0
    thread = threading.Thread(target=_follow, args=(log, earlier, _Display(console, loaders), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def show_line(console: Console, line: str) -> None:
    """Print a line above the bar as it is: unwrapped, without markup."""
    console.print(escape(line), soft_wrap=True, highlight=False)


class _Display:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, loaders: Loaders) -> None:
        self.console, self.last_line, self.watch = console, float("-inf"), WaitingWatch(loaders)
        self.noted: set[str] = set()
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.task = self.bar.add_task("", total=None)

    def show(self, event: AnyEvent) -> None:
        """Show one event."""
        if isinstance(event, Started):
            begun = "resuming" if event.step else "starting"
            self._print(f"{begun} at step {event.step} of {event.max_steps} with {len(event.workers)} worker(s)")
            self.bar.update(self.task, completed=event.step, total=event.max_steps)
        elif isinstance(event, Saved):
            self._print(f"saved {event.checkpoint}")
        elif isinstance(event, Evaluated):
            self._print(f"step {event.step}  {event.heldout.line}")
        elif isinstance(event, Failed):
            if event.restart <= event.max_restarts:  # else the error that ends the run says it
                self._print(f"failed: {event.line}; restart {event.restart} of {event.max_restarts}")
        elif isinstance(event, BatchChosen):
            self._print(event.line)
        elif isinstance(event, Noted):
            self._show_once(event.what)
        elif isinstance(event, Waiting):
            self._print(f"waiting for {event.what}")
        else:
            self._show_reading(event)
        if (verdict := self.watch.judge(event)) is not None:
            self._print(verdict)

    def _show_once(self, what: str) -> None:
        """Each loader process notes the same."""
        if what not in self.noted:
            self.noted.add(what)
            self._print(f"note: {what}")

    def _show_reading(self, reading: MeterReading) -> None:
        said = reading.line.split("  ", 1)[1]
        self.bar.update(self.task, completed=reading.step, total=reading.max_steps, description=said)
        is_due = time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES or reading.step == reading.max_steps
        if not self.console.is_terminal and is_due:
            self.last_line = time.monotonic()
            self._print(reading.line)

    def _print(self, line: str) -> None:
        show_line(self.console, line)


def _follow(log: Path, position: int, display: _Display, ended: threading.Event) -> None:
    """Show the log's lines after a position as they come, until all of an ended run are shown."""
    with display.bar:
        while True:
            is_last = ended.is_set()
            lines = whole_lines(log, position)
            for event in parse_events(lines):
                display.show(event)
            position += len(lines)
            if is_last:
                return
            ended.wait(SECONDS_BETWEEN_LOOKS)
