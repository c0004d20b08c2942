"""Memory of a run's processes while it trains: each rank's, its server of loader processes', and theirs.

    python -m benchmarks.loader_memory RUN_FOLDER --seconds 60

Private memory is what a process alone has: what would be free if it ended. Loaders that are forked from a server share
the libraries that it has imported. The most of each process in that time is printed; a loader's has its shards, too.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from millrace.train.train_progress import last_start

SECONDS_BETWEEN_LOOKS = 1.0
PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """MB of a process: its own, and its share of what it has in common with others."""

    private: float
    proportional: float

    @classmethod
    def of(cls, pid: int) -> "Memory":
        """Of a process now (Linux, smaps_rollup)."""
        found = {}
        for line in (PROC / f"{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, kilobytes, *_ = line.split()
            found[name.rstrip(":")] = int(kilobytes) * 1024 / 1e6
        return cls(found["Private_Clean"] + found["Private_Dirty"], found["Pss"])


def child_processes(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    return [int(child) for file in (PROC / f"{pid}/task").glob("*/children") for child in file.read_text().split()]


def list_processes(rank: int) -> dict[int, str]:
    """A rank's processes by what they are; its server of loaders is the child that has children of its own."""
    found = {rank: "rank"}
    for child in child_processes(rank):
        loaders = child_processes(child)
        found[child] = "server of loaders" if loaders else "loader or other child"
        found |= dict.fromkeys(loaders, "loader")
    return found


def watch(ranks: list[int], seconds: float) -> dict[tuple[str, int], Memory]:
    """The most memory of each process, by what it is and its number."""
    most: dict[tuple[str, int], Memory] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for rank in ranks:
            try:
                for pid, kind in list_processes(rank).items():
                    now, before = Memory.of(pid), most.get((kind, pid), Memory(0.0, 0.0))
                    most[kind, pid] = max(now, before, key=lambda memory: memory.private)
            except (OSError, ValueError):  # it has just ended
                continue
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return most


def main() -> int:
    """Print a line for each process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    flags = parser.parse_args()
    start = last_start(flags.run)
    if start is None:
        print(f"{flags.run} holds no run that has started", file=sys.stderr)
        return 2
    found = watch([worker.pid for worker in start.workers], flags.seconds)
    if not found:
        print(f"no worker of {flags.run} runs on this machine", file=sys.stderr)
        return 1
    for (kind, pid), memory in sorted(found.items()):
        print(f"{kind:24} {pid:8}  private {memory.private:7.0f} MB  proportional {memory.proportional:7.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
