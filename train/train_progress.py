"""The progress of a run: a line of JSON for each event, shown as a line or a bar on the terminal."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from millrace.embodiments import FrozenModel
from millrace.train.failures import join_failures
from millrace.train.heldout import HeldOut

LOG = "train_log.jsonl"
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = 0.5


class Event(FrozenModel):
    """Something that happened, at a time in seconds since 1970."""

    time: float = Field(default_factory=time.time)
    step: int


class WorkerProcess(BaseModel):
    """Where a worker runs."""

    rank: int
    host: str
    pid: int


class Started(Event):
    """All workers stand ready; step is that of the checkpoint from which they resume, or 0."""

    event: Literal["started"] = "started"
    max_steps: int
    workers: tuple[WorkerProcess, ...]


class Share(BaseModel):
    """One worker's share since the last reading."""

    data_wait_share: float
    """Of its time, in [0, 1]: how long it stood still for want of samples."""
    gpu_memory_bytes: int | None
    """Most that torch has held on its GPU; None on a CPU."""


class MeterReading(Event):
    """How training goes, as an average since the last reading; grad_norm: of the last step, before clipping."""

    event: Literal["step"] = "step"
    max_steps: int
    loss: float
    learning_rate: float
    grad_norm: float | None = None
    samples_per_second: float
    seconds_left: float
    ranks: tuple[Share, ...]

    @property
    def data_wait_share(self) -> float:
        """The slowest worker's share of time without a batch; the others wait for it."""
        return max(share.data_wait_share for share in self.ranks)

    @property
    def line(self) -> str:
        """The reading in words."""
        memory = [share.gpu_memory_bytes for share in self.ranks if share.gpu_memory_bytes is not None]
        parts = [
            f"step {self.step}/{self.max_steps}",
            f"loss {self.loss:.4f}",
            f"lr {self.learning_rate:.2e}",
            *([] if self.grad_norm is None else [f"grad norm {self.grad_norm:.3g}"]),
            f"{self.samples_per_second:.1f} samples/s",
            *([f"GPU {decimal(max(memory))}"] if memory else []),
            f"waiting for data {self.data_wait_share:.0%}",
            f"{timedelta(seconds=round(self.seconds_left))} left",
        ]
        return "  ".join(parts)


class Evaluated(Event):
    """The model was measured on held-out episodes."""

    event: Literal["evaluated"] = "evaluated"
    heldout: HeldOut


class Saved(Event):
    """A checkpoint is complete."""

    event: Literal["saved"] = "saved"
    checkpoint: str


class WorkerFailure(BaseModel):
    """Why a worker failed, in a line; host: None where it never began."""

    rank: int
    host: str | None
    message: str


class Failed(Event):
    """Workers failed; step is that of the newest complete checkpoint. restart: which one this is, of how many."""

    event: Literal["failed"] = "failed"
    failures: tuple[WorkerFailure, ...]
    restart: int
    max_restarts: int

    @property
    def line(self) -> str:
        """The failures in words; hosts are named where there are several."""
        several = len({failure.host for failure in self.failures}) > 1
        return join_failures(
            {f"{one.rank} on {one.host}" if several else str(one.rank): one.message for one in self.failures}
        )


class Waiting(Event):
    """The run stands still until something is there; what: in words."""

    event: Literal["waiting"] = "waiting"
    what: str


AnyEvent: TypeAlias = Started | MeterReading | Evaluated | Saved | Failed | Waiting
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="event")])


class Meter:
    """Measures one worker between readings: steps, and time spent waiting for samples."""

    def __init__(self, step: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock, self.step = clock, step
        self.since, self.waited = clock(), 0.0

    @contextmanager
    def measure_wait(self) -> Iterator[None]:
        """Count the block's time as waiting for data."""
        began = self.clock()
        try:
            yield
        finally:
            self.waited += self.clock() - began

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the block's time out."""
        began = self.clock()
        try:
            yield
        finally:
            self.since += self.clock() - began

    def read(self, step: int) -> tuple[float, float]:
        """Steps a second, and the share of time that was waited, since the last call."""
        elapsed = max(self.clock() - self.since, 1e-9)
        rates = (step - self.step) / elapsed, min(self.waited / elapsed, 1.0)
        self.step, self.since, self.waited = step, self.clock(), 0.0
        return rates


def read_events(folder: Path) -> list[AnyEvent]:
    """All that a run has logged, in order; lines that were cut short are left out."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    events = []
    for line in lines:
        with suppress(ValidationError):
            events.append(EVENT.validate_json(line))
    return events


def append_event(folder: Path, event: Event) -> None:
    """Add a line to the run's log."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(event.model_dump_json() + "\n")


def last_start(folder: Path) -> Started | None:
    """The newest `Started` in the run's log."""
    lines = _whole_lines(folder / LOG, 0).splitlines()
    events = (EVENT.validate_json(line) for line in reversed(lines) if b'"started"' in line)
    return next((event for event in events if isinstance(event, Started)), None)


@contextmanager
def show_events(folder: Path, console: Console) -> Iterator[None]:
    """Show events as they are logged: the log lies where all nodes write, so this works from any of them."""
    log, ended = folder / LOG, threading.Event()
    earlier = log.stat().st_size if log.exists() else 0
    thread = threading.Thread(target=_follow, args=(log, earlier, _Display(console), ended), daemon=True)
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

    def __init__(self, console: Console) -> None:
        self.console, self.last_line = console, float("-inf")
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
        elif isinstance(event, Waiting):
            self._print(f"waiting for {event.what}")
        else:
            self._show_reading(event)

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
            lines = _whole_lines(log, position)
            for line in lines.splitlines():
                display.show(EVENT.validate_json(line))
            position += len(lines)
            if is_last:
                return
            ended.wait(SECONDS_BETWEEN_LOOKS)


def _whole_lines(log: Path, position: int) -> bytes:
    """What follows a position; a line that is still being written is left for the next look."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(position)
        before, newline, _ = file.read().rpartition(b"\n")
    return before + newline
