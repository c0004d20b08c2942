"""Frames a second of one process, and of as many as help, while the card's engines are watched."""

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

from gpu_works import Setup, Work
from measure import cpu_seconds

QUERY = "utilization.decoder,utilization.encoder,utilization.gpu,memory.used"
ENGINES = ("NVDEC %", "NVENC %", "SM %", "memory MiB")
_starting: Barrier | None = None


@dataclass(frozen=True)
class Rate:
    """Output frames a second of `num_processes` together. cpu_ms: of all of them, for each frame.

    engines: what nvidia-smi says of the card meanwhile, by ENGINES; empty without one.
    """

    num_processes: int
    frames_per_second: float
    cpu_ms: float
    engines: dict[str, int]


def rates(work: Work, setup: Setup, *, num_cores: int, seconds: float) -> tuple[Rate, Rate]:
    """Of one process, and of the number of processes that does most; of a CPU's stages that is a process a core."""
    alone = rate(work, setup, num_processes=1, seconds=seconds)
    counts = [num_cores]
    if work.on_gpu:
        counts = [count for count in (2, 4, 8, 16, 32) if count <= num_cores] or [num_cores]
    several = [rate(work, setup, num_processes=count, seconds=seconds) for count in counts if count > 1]
    return alone, max([alone, *several], key=lambda one: one.frames_per_second)


def rate(work: Work, setup: Setup, *, num_processes: int, seconds: float) -> Rate:
    """All begin together, after a pass that is not counted."""
    context = get_context("spawn")
    barrier = context.Barrier(num_processes + 1)
    with ProcessPoolExecutor(num_processes, context, _share, (barrier,)) as pool:
        running = [pool.submit(_repeat, work, setup, seconds) for _ in range(num_processes)]
        barrier.wait()
        time.sleep(seconds / 2)
        engines = _engines() if work.on_gpu else {}
        done = [one.result() for one in running]
    num_frames = sum(frames for frames, _, _ in done)
    return Rate(
        num_processes=num_processes,
        frames_per_second=sum(frames / wall for frames, wall, _ in done),
        cpu_ms=sum(cpu for *_, cpu in done) / num_frames * 1000,
        engines=engines,
    )


def _share(barrier: Barrier) -> None:
    global _starting
    _starting = barrier


def _repeat(work: Work, setup: Setup, seconds: float) -> tuple[int, float, float]:
    """(frames, wall seconds, CPU seconds) of passes that together take at least `seconds`."""
    assert _starting is not None, "the pool's initializer has run"
    try:
        step = work.begin(setup)
        step()
    except BaseException:
        _starting.abort()
        raise
    _starting.wait()
    started, cpu, num_frames = time.perf_counter(), cpu_seconds(), 0
    while time.perf_counter() - started < seconds:
        num_frames += step()
    return num_frames, time.perf_counter() - started, cpu_seconds() - cpu


def _engines() -> dict[str, int]:
    """Of the first card; how busy its engines are, all of a kind together."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return dict(zip(ENGINES, _integers(told.split(",")), strict=True))
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def _integers(texts: Sequence[str]) -> list[int]:
    return [int(text) for text in texts]
