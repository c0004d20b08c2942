"""Frames a second of one process, and of more and more at once, while the card's engines are watched."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.gpu_card import Busy, busy
from benchmarks.gpu_children import Begin, Failed, together
from benchmarks.gpu_works import Setup, Work
from benchmarks.measure import cpu_seconds

# Processes that share a card.
NUM_SHARING = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Rate:
    """Output frames a second of some processes together. cpu_ms: of all of them, for each frame. busy: the card's."""

    frames_per_second: float
    cpu_ms: float
    busy: Busy


@dataclass(frozen=True)
class Attempt:
    """A measurement with `num_processes`; rate None: it failed, and `problem` says why."""

    num_processes: int
    rate: Rate | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Patience:
    """seconds: of a measurement. limit_seconds: for it, the start of its processes and their libraries included."""

    seconds: float
    limit_seconds: float


def attempts(work: Work, setup: Setup, *, num_cores: int, patience: Patience) -> Iterator[Attempt]:
    """Of one process, then of more, on a card in steps and on the CPU a process a core, until one fails."""
    several = [count for count in NUM_SHARING if 1 < count <= num_cores] if work.on_gpu else [num_cores]
    for num_processes in dict.fromkeys([1, *several]):
        try:
            attempt = Attempt(num_processes, rate(work, setup, num_processes=num_processes, patience=patience))
        except Failed as why:
            attempt = Attempt(num_processes, problem=str(why))
        yield attempt
        if attempt.problem is not None:
            return


def rate(work: Work, setup: Setup, *, num_processes: int, patience: Patience) -> Rate:
    """All begin together, after a pass that is not counted.

    Raises:
        Failed: one of them did not get through it.
    """
    watched: list[Busy] = []

    def watch() -> None:
        if work.on_gpu:
            time.sleep(patience.seconds / 2)
            watched.append(busy())

    repeat = partial(_repeat, work, setup, patience.seconds)
    done = together(repeat, num_processes, limit_seconds=patience.limit_seconds, meanwhile=watch)
    num_frames = sum(frames for frames, _, _ in done)
    return Rate(
        frames_per_second=sum(frames / wall for frames, wall, _ in done),
        cpu_ms=sum(cpu for *_, cpu in done) / num_frames * 1000,
        busy=watched[0] if watched else {},
    )


def _repeat(work: Work, setup: Setup, seconds: float, begin: Begin) -> tuple[int, float, float]:
    """(frames, wall seconds, CPU seconds) of passes that together take at least `seconds`."""
    step = work.begin(setup)
    assert step() > 0, "a pass makes frames"
    begin()
    started, cpu, num_frames = time.perf_counter(), cpu_seconds(), 0
    while time.perf_counter() - started < seconds:
        num_frames += step()
    return num_frames, time.perf_counter() - started, cpu_seconds() - cpu
