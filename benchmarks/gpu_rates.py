"""Frames a second of one process and of several at once, while nvidia-smi watches the card's engines."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from benchmarks.gpu_processes import Begin, Failed, run_together
from benchmarks.gpu_works import Work
from benchmarks.measure import cpu_seconds

# Processes that share a card.
NUM_SHARING = (1, 2, 4, 8, 16, 32)
QUERY = "utilization.decoder,utilization.encoder,utilization.gpu,memory.used"
ENGINES = ("NVDEC %", "NVENC %", "SM %", "memory MiB")


@dataclass(frozen=True)
class Limits:
    """seconds: of a measurement. limit_seconds: for it and the start of its processes."""

    seconds: float
    limit_seconds: float


@dataclass(frozen=True)
class Rate:
    """A measurement of several processes together, in output frames; problem: why there is none.

    cpu_ms: of all processes, for each frame. transfer_mb: between host and card in a second. busy: by ENGINES.
    """

    stage: str
    where: str
    num_processes: int
    frames_per_second: float = 0.0
    cpu_ms: float = 0.0
    transfer_mb: float = 0.0
    busy: dict[str, int] = field(default_factory=dict)
    problem: str | None = None

    def __str__(self) -> str:
        title = f"{self.stage:<12} {self.where:<28} {self.num_processes:>3} at once "
        if self.problem is not None:
            return f"{title} FAILED: {self.problem}"
        figures = f"{self.frames_per_second:>9,.0f} frames/s {self.cpu_ms:>7.2f} CPU ms {self.transfer_mb:>7,.0f} MB/s"
        return f"{title} {figures} {', '.join(f'{name} {value}' for name, value in self.busy.items())}".rstrip()


def measure_rates(work: Work, *, num_cores: int, limits: Limits) -> Iterator[Rate]:
    """Measure one process, then more until one fails: on a card in steps, on the CPU one for each core."""
    several = [count for count in NUM_SHARING if 1 < count <= num_cores] if work.on_gpu else [num_cores]
    for num_processes in dict.fromkeys([1, *several]):
        try:
            yield _measure(work, num_processes, limits)
        except Failed as why:
            yield Rate(work.stage, work.where, num_processes, problem=str(why))
            return


def _measure(work: Work, num_processes: int, limits: Limits) -> Rate:
    watched: dict[str, int] = {}

    def watch() -> None:
        if work.on_gpu:
            time.sleep(limits.seconds / 2)
            watched.update(read_utilization())

    repeat = partial(_repeat, work, limits.seconds)
    done = run_together(repeat, num_processes, limit_seconds=limits.limit_seconds, meanwhile=watch)
    rate = sum(frames / wall for frames, wall, _ in done)
    cpu_ms = sum(cpu for *_, cpu in done) / sum(frames for frames, *_ in done) * 1000
    return Rate(work.stage, work.where, num_processes, rate, cpu_ms, work.transfer_bytes * rate / 1e6, watched)


def _repeat(work: Work, seconds: float, begin: Begin) -> tuple[int, float, float]:
    """(frames, wall seconds, CPU seconds) of passes that together take at least `seconds`, after one not counted."""
    step = work.begin()
    assert step() > 0, "a pass makes frames"
    begin()
    started, cpu, num_frames = time.perf_counter(), cpu_seconds(), 0
    while time.perf_counter() - started < seconds:
        num_frames += step()
    return num_frames, time.perf_counter() - started, cpu_seconds() - cpu


def read_utilization() -> dict[str, int]:
    """The first visible card's, by ENGINES; without those that the driver does not tell, empty without nvidia-smi."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", f"--id={first}", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = zip(ENGINES, map(str.strip, done.stdout.split(",")), strict=False)
    return {name: int(value) for name, value in pairs if value.isdecimal()}
