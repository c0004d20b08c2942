"""CPU and wall seconds of a piece of work, its child processes included."""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

# In the command lines of processes in which episodes are converted: Ray Data's actors, and the local executor's.
WORKERS = ("ray::MapWorker", "execution.local import serve_worker")


@dataclass(frozen=True)
class Cost:
    """Seconds of one episode: CPU of all processes (None: not measured), and on the wall."""

    cpu: float | None
    wall: float


def measure(work: Callable[[], object], *, num_episodes: int) -> Cost:
    """The cost of each of the episodes that `work` converts; children count once they have ended."""
    cpu, wall = cpu_seconds(), perf_counter()
    work()
    return Cost((cpu_seconds() - cpu) / num_episodes, (perf_counter() - wall) / num_episodes)


def cpu_seconds() -> float:
    """User and system seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def typical(costs: list[Cost]) -> Cost:
    """The median of each."""
    cpus = [cost.cpu for cost in costs if cost.cpu is not None]
    return Cost(median(cpus) if cpus else None, median(cost.wall for cost in costs))


def worker_peaks_mb() -> list[float]:
    """Peak resident memory of every worker that descends from this process, MB (Linux)."""
    return [_peak_mb(pid) for pid, title in _descendants(os.getpid()) if _is_worker(title)]


def process_cpu_seconds(pid: int) -> float:
    """User and system seconds of a living process (Linux)."""
    return _ticks(pid) / os.sysconf("SC_CLK_TCK")


def process_peak_mb(pid: int) -> float:
    """Peak resident memory of a living process, MB (Linux)."""
    return _peak_mb(pid)


def descendants_cpu_seconds(*, workers: bool = True) -> float:
    """User and system seconds of every living descendant of this process, their ended children included (Linux).

    workers: count the processes that convert episodes, too.
    """
    ticks = sum(_ticks(pid) for pid, title in _descendants(os.getpid()) if workers or not _is_worker(title))
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_worker(title: str) -> bool:
    return any(name in title for name in WORKERS)


def _descendants(ancestor: int) -> list[tuple[int, str]]:
    """(pid, command line) of processes; those that ended meanwhile are left out."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := _read(entry / "stat")):
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, frontier = [], {ancestor}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found += [(pid, _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()) for pid in frontier]
    return found


def _ticks(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))  # utime, stime, and those of children that ended; see proc(5)


def _peak_mb(pid: int) -> float:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
