"""What was measured, as figures for a JSON file and as tables."""

import os
import platform
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.floor import Floor
from benchmarks.measure import Cost, typical

MILLRACE = "millrace"
FFMPEG_ONE = "ffmpeg, one process"
FFMPEG_CORES = "ffmpeg, one process per core"


@dataclass
class Measured:
    """Costs by method, in the order of the table, and the rest of what was found; a value for each round.

    floors: means over the episodes. rates, efficiencies, process_efficiencies (of as many processes without Ray),
    ray_cores: by number of workers. bare_startups: of a Ray Data pipeline that does nothing. peaks_mb: by episode
    length. Empty where nothing was measured.
    """

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    floors: list[Floor] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)
    efficiencies: dict[int, list[float]] = field(default_factory=dict)
    process_efficiencies: dict[int, list[float]] = field(default_factory=dict)
    ray_cores: dict[int, list[float]] = field(default_factory=dict)
    startups: list[float] = field(default_factory=list)
    bare_startups: list[float] = field(default_factory=list)
    peaks_mb: dict[str, float] = field(default_factory=dict)

    def add(self, method: str, cost: Cost) -> None:
        """Another round's cost."""
        self.costs.setdefault(method, []).append(cost)


def figures(measured: Measured) -> dict[str, object]:
    """The figures by which releases are compared; null, or no key: not measured.

    ffmpeg_cpu_s: of its two ways the one that costs less. startup_s: seconds from launching the process
    to the first record, less what one episode takes in a process alone: that is work, not startup.
    ray_efficiency: with the most workers. ray_cores: what Ray and the driver kept busy beside them.
    """
    costs = {name: typical(found) for name, found in measured.costs.items()}
    ffmpeg = [costs[name].cpu for name in (FFMPEG_ONE, FFMPEG_CORES) if name in costs]
    baselines = {"guide_cpu_s": costs["guide"].cpu, "ffmpeg_cpu_s": min(ffmpeg)} if ffmpeg else {}
    return {
        **baselines,
        "millrace_cpu_s": costs[MILLRACE].cpu,
        **({"floor_cpu_s": median(floor.total for floor in measured.floors)} if measured.floors else {}),
        "ray_efficiency": median(measured.efficiencies[max(measured.efficiencies)]),
        "ray_efficiencies": _by_count(measured.efficiencies),
        "process_efficiencies": _by_count(measured.process_efficiencies) or None,
        "ray_cores": _by_count(measured.ray_cores) or None,
        "startup_s": median(measured.startups),
        "bare_ray_startup_s": median(measured.bare_startups) if measured.bare_startups else None,
        "worker_rss_mb": {frames: round(peak) for frames, peak in measured.peaks_mb.items()} or None,
        "episodes_per_second": _by_count(measured.rates),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


def _by_count(found: dict[int, list[float]]) -> dict[str, float]:
    return {str(count): median(values) for count, values in found.items()}


def print_tables(measured: Measured, console: Console) -> None:
    """Costs by method, where an episode's time goes, and how Ray did."""
    console.print(_cost_table(measured))
    console.print(_stage_table(measured))
    for count, rates in measured.rates.items():
        beside = ""
        if count in measured.process_efficiencies:
            processes, cores = median(measured.process_efficiencies[count]), median(measured.ray_cores[count])
            beside = f" ({processes:.1%} without Ray); cores that Ray itself keeps busy: {cores:.2f}"
        efficiency = median(measured.efficiencies[count])
        console.print(
            f"Ray, {workers(count)}: {median(rates):.2f} episodes/s, each {efficiency:.1%} of a process alone{beside}"
        )
    startup = f"startup: {median(measured.startups):.1f} s to the first record, less the work on one episode"
    if measured.bare_startups:
        startup += f"; {median(measured.bare_startups):.1f} s to the first row of a pipeline that does nothing"
    console.print(startup)


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
