"""The progress of a run: a line of JSON for each event."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from rich.filesize import decimal

from millrace.embodiments import FrozenModel
from millrace.train.batch import BatchPlan
from millrace.train.failures import join_failures
from millrace.train.heldout import HeldOut

LOG = "train_log.jsonl"


class Event(FrozenModel):
    """Something that happened, at a time in seconds since 1970."""

    # Else a number that is not finite becomes null, which is no number to whoever reads the line.
    model_config = ConfigDict(ser_json_inf_nan="strings")

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


class BatchChosen(Event):
    """A trial has divided the global batch; refused: the smallest pass that was tried and did not fit."""

    event: Literal["batch"] = "batch"
    per_device: int
    accumulation: int
    num_workers: int
    refused: int | None

    @classmethod
    def of(cls, plan: BatchPlan, *, step: int, refused: int | None) -> "BatchChosen":
        """A plan as an event."""
        return cls(
            step=step,
            per_device=plan.per_device,
            accumulation=plan.accumulation,
            num_workers=plan.num_workers,
            refused=refused,
        )

    @property
    def line(self) -> str:
        """The plan in words."""
        size = self.per_device * self.accumulation * self.num_workers
        told = (
            f"batch of {size} = {self.per_device} samples a pass x {self.accumulation} accumulated x "
            f"{self.num_workers} worker(s)"
        )
        return told if self.refused is None else f"{told}; {self.refused} a pass are out of memory"


class Waiting(Event):
    """The run stands still until something is there; what: in words."""

    event: Literal["waiting"] = "waiting"
    what: str


class Noted(Event):
    """Something that the user should know and that changes no value, such as a slower way; what: in words."""

    event: Literal["noted"] = "noted"
    what: str


AnyEvent: TypeAlias = Started | MeterReading | Evaluated | Saved | Failed | BatchChosen | Waiting | Noted
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
    return list(parse_events(path.read_bytes())) if path.exists() else []


def parse_events(lines: bytes) -> Iterator[AnyEvent]:
    """The events of some lines of a log, without those that were cut short."""
    for line in lines.split(b"\n"):  # JSON escapes no other end of a line
        with suppress(ValidationError):
            yield EVENT.validate_json(line)


def append_event(folder: Path, event: Event) -> None:
    """Add a line to the run's log, below one that was cut short, as by a full disk."""
    line = event.model_dump_json().encode() + b"\n"
    with (folder / LOG).open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def last_start(folder: Path) -> Started | None:
    """The newest `Started` in the run's log."""
    return next((event for event in reversed(read_events(folder)) if isinstance(event, Started)), None)


def whole_lines(log: Path, position: int) -> bytes:
    """What follows a position; a line that is still being written is left for the next look."""
    if not log.exists():
        return b""
    with log.open("rb") as file:
        file.seek(position)
        before, newline, _ = file.read().rpartition(b"\n")
    return before + newline
