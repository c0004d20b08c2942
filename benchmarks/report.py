"""What was measured, as figures for a JSON file and as tables."""

import os
import platform
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.floor import Floor
from benchmarks.measure import Cost, typical
from benchmarks.runs import Run

MILLRACE = "millrace"
FFMPEG_ONE = "ffmpeg, one process"
FFMPEG_CORES = "ffmpeg, one process per core"


@dataclass
class ExecutorFigures:
    """What was found of an executor; a value for each round.

    rates, efficiencies, driver_cores: by number of workers. startups: to the first record. bare_startups: of workers
    that do nothing. Empty where nothing was measured.
    """

    rates: dict[int, list[float]] = field(default_factory=dict)
    efficiencies: dict[int, list[float]] = field(default_factory=dict)
    driver_cores: dict[int, list[float]] = field(default_factory=dict)
    startups: list[float] = field(default_factory=list)
    bare_startups: list[float] = field(default_factory=list)

    def add(self, num_workers: int, run: Run, alone: Run) -> None:
        """Another round's run, held against that of one process alone."""
        self.rates.setdefault(num_workers, []).append(run.rate)
        self.efficiencies.setdefault(num_workers, []).append(run.rate / (num_workers * alone.rate))
        if run.driver_cores is not None:
            self.driver_cores.setdefault(num_workers, []).append(run.driver_cores)
        self.startups.append(run.first_record_seconds - alone.cost.wall)


@dataclass
class Measured:
    """Costs by method, in the order of the table, and the rest of what was found; a value for each round.

    floors: means over the episodes. executors: by name. process_efficiencies: of independent processes, by their
    number. peaks_mb: by episode length. Empty where nothing was measured.
    """

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    floors: list[Floor] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    executors: dict[str, ExecutorFigures] = field(default_factory=dict)
    process_efficiencies: dict[int, list[float]] = field(default_factory=dict)
    peaks_mb: dict[str, float] = field(default_factory=dict)

    def add(self, method: str, cost: Cost) -> None:
        """Another round's cost."""
        self.costs.setdefault(method, []).append(cost)


def figures(measured: Measured) -> dict[str, object]:
    """The figures by which releases are compared; null, or no key: not measured.

    ffmpeg_cpu_s: of its two ways the one that costs less. startup_s: seconds from launching the process
    to the first record, less what one episode takes in a process alone: that is work, not startup.
    driver_cores: what the driver and Ray kept busy beside the workers.
    """
    costs = {name: typical(found) for name, found in measured.costs.items()}
    ffmpeg = [costs[name].cpu for name in (FFMPEG_ONE, FFMPEG_CORES) if name in costs]
    baselines = {"guide_cpu_s": costs["guide"].cpu, "ffmpeg_cpu_s": min(ffmpeg)} if ffmpeg else {}
    return {
        **baselines,
        "millrace_cpu_s": costs[MILLRACE].cpu,
        **({"floor_cpu_s": median(floor.total for floor in measured.floors)} if measured.floors else {}),
        "process_efficiencies": _by_count(measured.process_efficiencies) or None,
        "executors": {name: _executor_figures(found) for name, found in measured.executors.items()},
        "worker_rss_mb": {frames: round(peak) for frames, peak in measured.peaks_mb.items()} or None,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


def _executor_figures(found: ExecutorFigures) -> dict[str, object]:
    return {
        "episodes_per_second": _by_count(found.rates),
        "efficiencies": _by_count(found.efficiencies),
        "driver_cores": _by_count(found.driver_cores) or None,
        "startup_s": median(found.startups),
        "bare_startup_s": median(found.bare_startups) if found.bare_startups else None,
    }


def _by_count(found: dict[int, list[float]]) -> dict[str, float]:
    return {str(count): median(values) for count, values in found.items()}


def print_tables(measured: Measured, console: Console) -> None:
    """Costs by method, where an episode's time goes, and how the executors did."""
    console.print(_cost_table(measured))
    console.print(_stage_table(measured))
    console.print(_executor_table(measured))


def _executor_table(measured: Measured) -> Table:
    """How executors did against one process alone, and against as many independent processes."""
    table = _table(
        "workers", "episodes/s", "of a process alone", "of processes", "driver, cores", "startup, s", "bare, s"
    )
    for name, found in measured.executors.items():
        for count, rates in found.rates.items():
            efficiency, independent = median(found.efficiencies[count]), measured.process_efficiencies.get(count)
            table.add_row(
                f"{name}, {workers(count)}",
                f"{median(rates):.2f}",
                f"{efficiency:.1%}",
                f"{efficiency / median(independent):.1%}" if independent else "",
                f"{median(found.driver_cores[count]):.2f}" if count in found.driver_cores else "",
                f"{median(found.startups):.1f}",
                f"{median(found.bare_startups):.1f}" if found.bare_startups else "",
            )
    return table


def workers(count: int) -> str:
    """So many, in words."""
    return f"{count} worker" if count == 1 else f"{count} workers"


def describe_peaks(measured: Measured) -> str:
    """Peak memory of a worker, or that it is not known."""
    peaks = ", ".join(f"{peak:.0f} MB at {frames} frames" for frames, peak in measured.peaks_mb.items())
    return f"peak memory of a worker, on examples/aloha: {peaks or 'not measured'}"


def _cost_table(measured: Measured) -> Table:
    table = _table("method", "CPU s per episode", "wall s per episode", "CPU against millrace")
    own = typical(measured.costs[MILLRACE]).cpu
    assert own is not None
    for name, found in measured.costs.items():
        cost = typical(found)
        cpu = ["not measured", ""] if cost.cpu is None else [f"{cost.cpu:.3f}", f"{cost.cpu / own:.2f}"]
        table.add_row(name, cpu[0], f"{cost.wall:.3f}", cpu[1])
    if measured.floors:
        floor = median(floor.total for floor in measured.floors)
        table.add_row("floor", f"{floor:.3f}", "", f"{floor / own:.2f}")
    return table


def _stage_table(measured: Measured) -> Table:
    """Where an episode's time goes in a process alone, beside what its stage takes alone."""
    alone = {}
    if measured.floors:
        alone = {
            "decode": median(floor.decode for floor in measured.floors),
            "crop and scale": median(floor.reframe for floor in measured.floors),
            "encode": median(floor.encode for floor in measured.floors),
        }
    names = dict.fromkeys(name for stages in measured.stages for name in stages)
    found = {name: median(stages.get(name, 0.0) for stages in measured.stages) for name in names}
    table = _table("stage", "wall s per episode", "floor, CPU s")
    for name, seconds in sorted(found.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{seconds:.4f}", f"{alone[name]:.4f}" if name in alone else "")
    rest = typical(measured.costs[MILLRACE]).wall - sum(found.values())
    table.add_row("plan, ledger, meta/", f"{rest:.4f}", "")
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    return table
