"""The cores and the memory that this process may use: the machine's, or less where a control group limits them."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# Python with numpy, pyarrow and PyAV, the rows of some episodes, and a part of what is shared.
READER_BYTES = 512 << 20


def reader_processes(root: Path = Path("/")) -> int:
    """Processes that may read a dataset at once: one a core, fewer where memory is short; root: see `usable_cores`."""
    return max(1, min(usable_cores(root), available_memory(root) // READER_BYTES))


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use, at least 1; root: where /proc and /sys are, "/" but in tests."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([num_cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Cores that each control group above this process allows: cpu.max of v2, cpu.cfs_* of v1."""
    for folder in _groups(root, "cpu"):
        quota, period = [*" ".join(_lines(folder / "cpu.max")).split(), "max", "max"][:2]
        if quota == "max":
            quota, period = ("".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):  # -1: no limit
            yield int(quota) / int(period)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that processes may still take; root: where /proc and /sys are, "/" but in tests."""
    free = _meminfo(root / "proc/meminfo", "MemAvailable") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([free, *(left for folder in _groups(root, "memory") if (left := _room(folder)) is not None)])


def _meminfo(path: Path, field: str) -> int | None:
    """Bytes of a field; None where there is no such file, as on macOS."""
    return next((int(line.split()[1]) << 10 for line in _lines(path) if line.startswith(f"{field}:")), None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the control groups above this process: of v2 and, where that has the controller, of v1."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        tree = root / "sys/fs/cgroup"
        if controllers and controller not in controllers.split(","):
            continue
        tree = tree / controller if controllers else tree
        inner = tree / group.lstrip("/")
        # In a container the path may be that of the host, and the group's own files lie at the root of the tree.
        yield from [inner, *inner.parents[: len(inner.relative_to(tree).parts)]]


def _room(folder: Path) -> int | None:
    """Bytes below a group's limit; None without a limit."""
    for limit, used, inactive in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        texts = [_lines(folder / limit), _lines(folder / used)]
        if all(texts) and texts[0][0].isdigit():
            # File pages that nobody uses count as used, but are given up when memory is wanted.
            cached = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[0] == inactive]
            return max(int(texts[0][0]) - int(texts[1][0]) + sum(cached), 0)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
