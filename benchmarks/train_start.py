"""What a start of training costs before its first step: GR00T N1.6's own way against Millrace's, in one run.

    python -m benchmarks.train_start                             # tables, and docs/train_start.png
    python -m benchmarks.train_start --episodes 1000,10000       # less

Datasets are simulated: metadata of that many episodes of 250 frames on average with one camera, and links to a few
files. The index is what each rank makes of it, sends to a loader process, and what that makes of it. The full check of
data is measured on real episodes, in one process and in as many as there are cores, and multiplied; that of data that
has not changed since is measured as a whole. Each figure comes from a process of its own.

Needs Millrace, GR00T N1.6 (gr00t) and Linux.
"""

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.groot_installed import require_groot
from benchmarks.input_runs import LoaderName
from benchmarks.runs import in_fresh_process
from benchmarks.simulated import merge_copies, simulate_dataset, write_base_model, write_example
from benchmarks.start_runs import (
    NUM_LOADERS,
    CheckCost,
    IndexCost,
    LoadersCost,
    build_index,
    check_all,
    check_unchanged,
    keep_check,
    receive_index,
    start_loaders,
)
from millrace.engine.execution.capacity import usable_cores

WAYS: tuple[LoaderName, ...] = ("gr00t", "millrace")
PLOT = Path(__file__).resolve().parent.parent / "docs/train_start.png"


@dataclass(frozen=True)
class Options:
    """Benchmark the start of training."""

    episodes: str = "1000,10000,100000"
    """Sizes of simulated datasets, a comma between."""
    checked: int = 2048
    """Real episodes of which the full check is measured."""
    plot: Path = PLOT
    """Where the picture goes."""
    json: Path | None = None
    """Also write the figures here."""


@dataclass(frozen=True)
class Found:
    """Costs by number of episodes; full_checks: for each episode, by number of processes."""

    indexes: dict[int, dict[LoaderName, IndexCost]]
    loaders: dict[LoaderName, LoadersCost]
    full_checks: dict[int, CheckCost]
    unchanged: dict[int, CheckCost]


def main() -> None:
    """Measure, print the tables, plot, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    require_groot("benchmarks/train_start.py")
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(options, Path(folder))
    _print(found)
    plot(found, options.plot)
    if options.json is not None:
        options.json.write_text(json.dumps(_figures(found), indent=2) + "\n")


def _measure(options: Options, folder: Path) -> Found:
    example = in_fresh_process(write_example, folder / "example")
    base = write_base_model(folder / "base")
    found = Found({}, {}, {}, {})
    for num_episodes in (int(size) for size in options.episodes.split(",")):
        print(f"{num_episodes:,} episodes", file=sys.stderr)
        place = folder / str(num_episodes)
        place.mkdir()
        dataset = simulate_dataset(example, place / "dataset", num_episodes)
        found.indexes[num_episodes] = {way: _index_cost(way, dataset, base) for way in WAYS}
        in_fresh_process(keep_check, dataset, base)
        found.unchanged[num_episodes] = in_fresh_process(check_unchanged, dataset, base)
    for way in WAYS:
        found.loaders[way] = in_fresh_process(start_loaders, way, folder)
    real = in_fresh_process(merge_copies, example, folder / "real", options.checked)
    for num_processes in sorted({1, usable_cores()}):
        found.full_checks[num_processes] = in_fresh_process(check_all, real, num_processes)
    return found


def _index_cost(way: LoaderName, dataset: Path, base: Path) -> IndexCost:
    handed = dataset.parent / "handed.pickle"
    rank_cpu, rank_mb, hand_cpu = in_fresh_process(build_index, way, dataset, base, handed)
    loader_cpu, loader_mb = in_fresh_process(receive_index, handed)
    return IndexCost(rank_cpu, rank_mb, hand_cpu, handed.stat().st_size / 1e6, loader_cpu, loader_mb)


def _print(found: Found) -> None:
    index = _table("Index of a rank and one loader process", "episodes", "", "CPU s", "x", "MB", "x", "sent, MB")
    for num_episodes, costs in found.indexes.items():
        stock = costs["gr00t"]
        for way, cost in costs.items():
            ratios = f"{stock.cpu / cost.cpu:.1f}", f"{stock.mb / max(cost.mb, 0.1):.1f}"
            figures = f"{cost.cpu:.2f}", ratios[0], f"{cost.mb:.0f}", ratios[1], f"{cost.handed_mb:.1f}"
            index.add_row(f"{num_episodes:,}", way, *figures)
    loaders = _table(f"{NUM_LOADERS} loader processes before any data", "", "CPU s", "last one, s", "its own MB")
    for way, started in found.loaders.items():
        loaders.add_row(way, f"{started.cpu:.1f}", f"{started.wall:.2f}", f"{started.private_mb:.0f}")
    checks = _table("Check of data", "episodes", "", "CPU s", "wall s")
    for num_episodes, cost in found.unchanged.items():
        for num_processes, each in found.full_checks.items():
            whole = f"{each.cpu * num_episodes:.0f}", f"{each.wall * num_episodes:.0f}"
            checks.add_row(f"{num_episodes:,}", f"in full, {num_processes} process(es), multiplied", *whole)
        checks.add_row(f"{num_episodes:,}", "unchanged since", f"{cost.cpu:.1f}", f"{cost.wall:.1f}")
    Console(width=120).print(index, loaders, checks)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if not heading else "right")
    return table


def plot(found: Found, path: Path) -> None:
    """CPU seconds and megabytes of the index, and seconds of the check, against the number of episodes."""
    sizes = list(found.indexes)
    figure, (cpu_axes, memory_axes, check_axes) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for way, label in (("gr00t", "GR00T's own"), ("millrace", "Millrace")):
        costs = [found.indexes[size][way] for size in sizes]
        cpu_axes.loglog(sizes, [cost.cpu for cost in costs], marker="o", label=label)
        memory_axes.loglog(sizes, [max(cost.mb, 0.1) for cost in costs], marker="o", label=label)
    for num_processes, each in found.full_checks.items():
        label = f"all files, {num_processes} process(es), multiplied"
        check_axes.loglog(sizes, [each.wall * size for size in sizes], linestyle=":", label=label)
    check_axes.loglog(sizes, [found.unchanged[size].wall for size in sizes], marker="o", label="unchanged since")
    cpu_axes.set(title="Index: rank and one loader", ylabel="CPU seconds")
    memory_axes.set(title="Index: rank and one loader", ylabel="MB")
    check_axes.set(title="Check of data", ylabel="seconds")
    for axes in (cpu_axes, memory_axes, check_axes):
        axes.set(xlabel="episodes")
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _figures(found: Found) -> dict[str, object]:
    """Every figure that the tables show."""
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return {"machine": machine, **asdict(found)}


if __name__ == "__main__":
    main()
