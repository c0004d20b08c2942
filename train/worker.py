"""One of the processes that train together: its rank, where it resumes, and its reports."""

import math
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch.linalg import vector_norm

from millrace.embodiments import Remedy
from millrace.train.errors import WeightsDiverged, WorldMismatch
from millrace.train.run_folder import checkpoint_step, flush_checkpoint, mark_complete, newest_checkpoint
from millrace.train.settings import FinetuneSettings
from millrace.train.shared_storage import (
    View,
    check_checkpoint,
    check_views,
    create_token,
    find_lacking,
    find_shared,
    list_sizes,
    remove_tokens,
)
from millrace.train.train_progress import (
    Event,
    Meter,
    MeterReading,
    Noted,
    Saved,
    Share,
    Started,
    WorkerProcess,
    append_event,
)

LOGS = "logs"  # what the libraries printed, a file for each worker
ROUNDING = 1e-9  # GPUs of different kinds add up the same weights in a different order
# Values of a weight that are added up at a time: each takes 8 bytes meanwhile.
VALUES_AT_A_TIME = 1 << 22

T = TypeVar("T")
# Metrics of this worker, and from rank 0 the checkpoint that they belong to.
Report = Callable[[dict[str, Any], Path | None], None]


@dataclass(frozen=True)
class Worker:
    """The settings and reports of one training process.

    Args:
        folder: The run's folder, the same for all workers.
        checkpoint: The complete checkpoint to resume from; None to begin.
        settings: The run's.
        report: Called by every worker alike: it may wait for the others.
    """

    rank: int
    num_workers: int
    folder: Path
    checkpoint: Path | None
    settings: FinetuneSettings
    report: Report

    @classmethod
    def join(cls, settings: FinetuneSettings, folder: Path, report: Report) -> "Worker":
        """This process, as the process group knows it; alone where there is none.

        Raises:
            WorldMismatch: the group has another size than --num-gpus says.
            StorageNotShared: a worker sees other files than worker 0 in the folder, a dataset or the base model.
        """
        rank, num_workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if num_workers != settings.num_workers:
            raise WorldMismatch(f"the process group has {num_workers} workers, not {settings.num_workers}")
        _check_storage(settings, folder, rank)
        # Rank 0 decides: on shared storage two nodes may see the same folder at different ages.
        checkpoint = _gather(newest_checkpoint(folder))[0]
        worker = cls(rank, num_workers, folder, checkpoint, settings, report)
        worker._log_start()
        return worker

    @property
    def first_step(self) -> int:
        """Steps that were done before."""
        return checkpoint_step(self.checkpoint) if self.checkpoint else 0

    def check_world(self, num_processes: int) -> None:
        """Check that a trainer counts as many processes as there are.

        Accelerate, on a CPU and not told so, sees one in each: every worker would train a model of its own.

        Raises:
            WorldMismatch: it does not.
        """
        if num_processes != self.num_workers:
            raise WorldMismatch(
                f"the trainer counts {num_processes} processes, the process group {self.num_workers}: "
                "each worker would train a model of its own"
            )

    def gather(self, value: T) -> list[T]:
        """Everyone's value, by rank; every worker calls it."""
        return _gather(value)

    def log(
        self, meter: Meter, *, step: int, loss: float, learning_rate: float, grad_norm: float | None = None
    ) -> MeterReading:
        """Report how training went since the last call; every worker calls it at the same step.

        Args:
            grad_norm: The gradients' norm in the last step, before it was clipped; None where it is unknown.

        Raises:
            WeightsDiverged: loss or gradients are not finite, and so are no weights from here on.
        """
        if not math.isfinite(loss) or not math.isfinite(grad_norm or 0.0):
            raise WeightsDiverged(describe_divergence(step, loss=loss, grad_norm=grad_norm))
        steps_per_second, waited = meter.read(step)
        ranks = _gather(Share(data_wait_share=waited, gpu_memory_bytes=_gpu_memory()))
        reading = MeterReading(
            step=step,
            max_steps=self.settings.max_steps,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=grad_norm,
            samples_per_second=steps_per_second * self.settings.global_batch_size,
            seconds_left=(self.settings.max_steps - step) / max(steps_per_second, 1e-9),
            ranks=tuple(ranks),
        )
        self.append(reading)
        return reading

    def append(self, event: Event) -> None:
        """Add an event to the run's log; of the workers, which all call it, the first one writes."""
        if self.rank == 0:
            append_event(self.folder, event)

    def save(self, checkpoint: Path, parameters: Iterable[torch.Tensor], last: MeterReading | None) -> None:
        """Report that this worker has written its share of a checkpoint; every worker calls it.

        Args:
            checkpoint: In the run's folder, named checkpoint-STEP.
            parameters: The model's; they must be the same on all workers.
            last: What `log` returned last.

        Raises:
            WeightsDiverged: they are not, or not finite; the checkpoint stays incomplete.
            StorageNotShared: worker 0 does not see what others wrote; the checkpoint stays incomplete.
        """
        step = checkpoint_step(checkpoint)
        self._check_equal(parameters)
        flush_checkpoint(checkpoint)  # by each worker: a machine of its own may hold back what it has written
        listings = _gather(list_sizes(checkpoint))
        lacking = find_lacking(checkpoint, listings) if self.rank == 0 else []
        check_checkpoint(checkpoint, _gather(lacking)[0])
        if self.rank == 0:
            only = self.settings.save_only_model
            for note in mark_complete(checkpoint, keep=self.settings.save_total_limit, weights_only=only):
                self.append(Noted(step=step, what=note))
        self.append(Saved(step=step, checkpoint=str(checkpoint)))
        # Only here: Ray takes reports every two seconds, and would hold up quick steps at each line of the log.
        metrics: dict[str, Any] = {"rank": self.rank, "step": step, "first_step": self.first_step}
        if last is not None:
            share = last.ranks[self.rank].model_dump()
            metrics |= last.model_dump(include={"loss", "learning_rate", "samples_per_second"}) | share
        self.report(metrics, checkpoint if self.rank == 0 else None)

    def _check_equal(self, parameters: Iterable[torch.Tensor]) -> None:
        sums = [absolute_sum(parameter.detach()) for parameter in parameters]
        # Gathering is also the barrier after which rank 0 knows that all have written.
        others = np.array(_gather(sums))
        if not np.isfinite(others).all():
            advice = Remedy("begin again at a lower --learning-rate")
            raise WeightsDiverged("the weights are no finite numbers any more; ", advice)
        if strange := [rank for rank, theirs in enumerate(others) if not np.allclose(theirs, others[0], rtol=ROUNDING)]:
            raise WeightsDiverged(f"the weights of worker(s) {', '.join(map(str, strange))} are not those of worker 0")

    def _log_start(self) -> None:
        processes = _gather(WorkerProcess(rank=self.rank, host=socket.gethostname(), pid=os.getpid()))
        self.append(Started(step=self.first_step, max_steps=self.settings.max_steps, workers=tuple(processes)))


def _check_storage(settings: FinetuneSettings, folder: Path, rank: int) -> None:
    """Check that all workers see the same files; each raises the same error."""
    folder.mkdir(parents=True, exist_ok=True)
    token = _gather(create_token(folder) if rank == 0 else "")[0]
    views = _gather(View(rank, socket.gethostname(), find_shared(settings, folder, token)))
    if rank == 0:
        remove_tokens(folder)
    check_views(views)


@contextmanager
def redirect_output(log: Path) -> Iterator[None]:
    """Write what libraries print, in this process and its children, to a file instead."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    streams = {stream: os.dup(stream) for stream in (1, 2)}
    with log.open("ab") as file:
        for stream in streams:
            os.dup2(file.fileno(), stream)
    try:
        yield
    finally:
        _flush()
        for stream, before in streams.items():
            os.dup2(before, stream)
            os.close(before)


def absolute_sum(weight: torch.Tensor) -> float:
    """The sum of a weight's absolute values, in float64: part by part, as a copy of all would fill a GPU."""
    parts = weight.reshape(-1).split(VALUES_AT_A_TIME)
    return float(sum(vector_norm(part, 1, dtype=torch.float64) for part in parts))


def describe_divergence(step: int, *, loss: float, grad_norm: float | None = None) -> str:
    """What to tell the user of a loss or gradients that are not finite."""
    norm = "" if grad_norm is None else f" and the gradients' norm {grad_norm:g}"
    return (
        f"step {step}: the loss is {loss:g}{norm}: training has diverged. The same command resumes from the newest "
        "complete checkpoint; if that diverges too, begin again at a lower --learning-rate"
    )


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _gather(value: T) -> list[T]:
    """Everyone's value, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _gpu_memory() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
