"""What a conversion costs, against the guide's script, ffmpeg, and the floor; all in one run, on the same episodes.

    python benchmarks/convert.py                                   # examples/, 64 episodes
    python benchmarks/convert.py data/aloha --map aloha_to_gr1     # your data
    python benchmarks/convert.py --workers 1,2,4 --json out/convert.json

Needs Millrace with its extra `bench`, and Linux. Baselines read whole mp4s (LeRobot v1 and v2).
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Annotated

import imageio_ffmpeg
import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from baselines import Floor, convert_as_guide, convert_with_ffmpeg, floor  # noqa: E402
from lengthen import lengthened  # noqa: E402
from measure import Cost, descendants_cpu_seconds, measure, typical, worker_peaks_mb  # noqa: E402

from engine.convert import Summary, Workers, plan_conversion, run_plan  # noqa: E402
from engine.plan import ConversionPlan  # noqa: E402
from engine.recipe import Recipe  # noqa: E402
from engine.sources import Clip  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Benchmark conversion."""

    source: Annotated[Path, tyro.conf.Positional] = ROOT / "examples/aloha"
    """A dataset; its episodes are repeated up to --episodes."""
    map: str = "aloha_to_gr1"
    """How joints become joints."""
    workers: str = "1,2"
    """Ray workers to try, a comma between."""
    address: str | None = None
    """A running Ray cluster; by default an embedded Ray."""
    episodes: int = 64
    """Episodes of each run through Ray."""
    rounds: int = 5
    """Times that everything is measured; medians are shown."""
    json: Path | None = None
    """Also write the figures here."""


@dataclass
class Measured:
    """Costs by method, in the order of the table, and the rest of what was found."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    floors: list[Floor] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)
    efficiencies: dict[int, list[float]] = field(default_factory=dict)
    startups: list[float] = field(default_factory=list)
    peaks_mb: dict[str, float] = field(default_factory=dict)

    def add(self, method: str, cost: Cost) -> None:
        """Another round's cost."""
        self.costs.setdefault(method, []).append(cost)


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    plan = plan_conversion(Recipe.single(options.source, map=options.map, task="Benchmark."))
    counts = [int(count) for count in options.workers.split(",")]
    measured = Measured()
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        _measure_round(plan, options, counts, measured)
    for num_frames in (400, 4000):
        measured.peaks_mb[str(num_frames)] = _peak_mb(plan, num_frames)
    figures = _figures(measured, counts)
    _print(measured, figures, options)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _measure_round(plan: ConversionPlan, options: Options, counts: list[int], measured: Measured) -> None:
    """Each method once, one after the other, so that a slow minute of the machine hits all alike."""
    few = _repeated(plan, len(plan.episodes[:8]))
    settings = plan.job.video
    clips = [clip for episode in few.episodes for clip in episode.episode.clips.values()]
    if all(isinstance(clip, Clip) and clip.start_seconds is None for clip in clips):
        baselines: dict[str, Callable[[Clip, Path, object], None]] = {
            "guide": convert_as_guide,
            "ffmpeg": convert_with_ffmpeg,
        }
        for name, convert in baselines.items():
            measured.add(name, _measure_clips(convert, clips, settings, len(few.episodes), at_once=1))
        cores = os.cpu_count() or 1
        cost = _measure_clips(convert_with_ffmpeg, clips, settings, len(few.episodes), at_once=cores)
        measured.add(f"ffmpeg, {cores} at once", cost)
        floors = [floor(clip, settings) for clip in clips]
        scale = len(clips) / len(few.episodes)
        measured.floors.append(Floor(*(median(getattr(f, n) for f in floors) * scale for n in asdict(floors[0]))))
    local = _in_fresh_process(_run_local, _repeated(plan, max(16, len(few.episodes))))
    measured.add("millrace", local.cost)
    measured.stages.append(local.stage_seconds)
    for count in counts:
        run = _in_fresh_process(_run_ray, _repeated(plan, options.episodes), count, options.address)
        measured.add(f"millrace, Ray, {count} workers", run.cost)
        measured.rates.setdefault(count, []).append(run.rate)
        measured.efficiencies.setdefault(count, []).append(run.rate / (count * local.rate))
        measured.startups.append(run.startup_seconds)


def _repeated(plan: ConversionPlan, num_episodes: int) -> ConversionPlan:
    """The plan with its episodes over and over, numbered anew."""
    episodes, first = [], 0
    for index, episode in enumerate(islice(cycle(plan.episodes), num_episodes)):
        episodes.append(replace(episode, index=index, first_index=first))
        first += episode.num_frames
    return replace(plan, episodes=tuple(episodes))


def _measure_clips(convert: object, clips: list[Clip], settings: object, num_episodes: int, *, at_once: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        outs = [Path(folder) / f"{number}.mp4" for number in range(len(clips))]
        jobs = [(convert, clip, out, settings) for clip, out in zip(clips, outs, strict=True)]
        return measure(lambda: list(pool.map(lambda job: job[0](*job[1:]), jobs)), num_episodes=num_episodes)


@dataclass(frozen=True)
class Run:
    """A whole conversion: rate of its steady part in episodes a second, seconds until the first record."""

    cost: Cost
    stage_seconds: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    startup_seconds: float = 0.0
    peak_mb: float = 0.0


def _in_fresh_process(run: Callable[..., Run], plan: ConversionPlan, *arguments: object) -> Run:
    """Imports, codecs and Ray start as they do for a user."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, plan, *arguments, time()).result()


def _run_local(plan: ConversionPlan, _: float) -> Run:
    """Everything included: rows, statistics, digests, probing, meta/."""
    _convert(_repeated(plan, 1), Workers(local=True))  # imports and first use of each codec
    summaries: list[Summary] = []
    times: list[float] = []
    num_episodes = len(plan.episodes)
    cost = measure(
        lambda: summaries.append(_convert(plan, Workers(local=True), on_result=lambda _: times.append(time()))),
        num_episodes=num_episodes,
    )
    stages = {name: seconds / num_episodes for name, seconds in summaries[0].stage_seconds.items()}
    return Run(cost, stages, rate=_steady_rate(times, num_workers=1))


def _run_ray(plan: ConversionPlan, num_workers: int, address: str | None, launched: float) -> Run:
    times: list[float] = []
    cpu: list[float] = []
    peaks: list[float] = []

    def on_result(_: object) -> None:
        times.append(time())
        if len(times) == len(plan.episodes):
            cpu.append(descendants_cpu_seconds())
            peaks.extend(worker_peaks_mb())

    workers = Workers(num_workers, address)
    own = measure(lambda: _convert(plan, workers, on_result=on_result), num_episodes=len(plan.episodes))
    return Run(
        Cost(own.cpu + cpu[0] / len(times), own.wall),
        rate=_steady_rate(times, num_workers=num_workers),
        startup_seconds=times[0] - launched,
        peak_mb=max(peaks, default=0.0),
    )


def _steady_rate(times: list[float], *, num_workers: int) -> float:
    """Episodes a second between the workers' first results and their last ones."""
    first, last = num_workers - 1, len(times) - num_workers
    return (last - first) / (times[last] - times[first])


def _convert(plan: ConversionPlan, workers: Workers, **callbacks: Callable[..., None]) -> Summary:
    with tempfile.TemporaryDirectory() as folder:
        return run_plan(plan, Path(folder), workers=workers, started=perf_counter(), **callbacks)


def _peak_mb(plan: ConversionPlan, num_frames: int) -> float:
    """Peak memory of a Ray worker that converts episodes of that many frames."""
    with tempfile.TemporaryDirectory() as folder:
        long = lengthened(plan, num_frames, Path(folder))
        return _in_fresh_process(_run_ray, _repeated(long, 4), 1, None).peak_mb


def _figures(measured: Measured, counts: list[int]) -> dict[str, object]:
    """The figures by which releases are compared."""
    costs = {name: typical(found) for name, found in measured.costs.items()}
    return {
        **{f"{name}_cpu_s": costs[name].cpu for name in ("guide", "ffmpeg", "millrace") if name in costs},
        **({"floor_cpu_s": median(found.total for found in measured.floors)} if measured.floors else {}),
        "ray_efficiency": median(measured.efficiencies[counts[-1]]),
        "startup_s": median(measured.startups),
        "worker_rss_mb": {frames: round(peak) for frames, peak in measured.peaks_mb.items()},
        "episodes_per_second": {str(count): median(rates) for count, rates in measured.rates.items()},
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


def _print(measured: Measured, figures: dict[str, object], options: Options) -> None:
    console = Console()
    console.print(_cost_table(measured, figures))
    if measured.floors:
        console.print(_stage_table(measured))
    for count, rates in measured.rates.items():
        efficiency = median(measured.efficiencies[count])
        console.print(f"Ray, {count} workers: {median(rates):.2f} episodes/s, each {efficiency:.1%} of a process alone")
    console.print(f"first record after {figures['startup_s']:.1f} s; peak of a worker {figures['worker_rss_mb']} MB")
    ffmpeg = imageio_ffmpeg.get_ffmpeg_version()
    console.print(f"{options.rounds} rounds, medians; {figures['machine']}; ffmpeg {ffmpeg}")


def _cost_table(measured: Measured, figures: dict[str, object]) -> Table:
    table = Table("method", "CPU s per episode", "wall s per episode", "against millrace")
    for column in table.columns[1:]:
        column.justify = "right"
    own = typical(measured.costs["millrace"]).cpu
    for name, found in measured.costs.items():
        cost = typical(found)
        table.add_row(name, f"{cost.cpu:.3f}", f"{cost.wall:.3f}", f"{cost.cpu / own:.2f}")
    if "floor_cpu_s" in figures:
        floor_cpu = float(str(figures["floor_cpu_s"]))
        table.add_row("floor", f"{floor_cpu:.3f}", "", f"{floor_cpu / own:.2f}")
    return table


def _stage_table(measured: Measured) -> Table:
    """Where an episode's time goes, beside what its stage takes alone."""
    alone = {
        "decode": median(found.decode for found in measured.floors),
        "crop and scale": median(found.reframe for found in measured.floors),
        "encode": median(found.encode for found in measured.floors),
    }
    table = Table("stage", "wall s per episode", "alone, CPU s")
    for column in table.columns[1:]:
        column.justify = "right"
    names = sorted(measured.stages[0], key=lambda name: -measured.stages[0][name])
    for name in names:
        seconds = median(stages.get(name, 0.0) for stages in measured.stages)
        table.add_row(name, f"{seconds:.4f}", f"{alone[name]:.4f}" if name in alone else "")
    rest = typical(measured.costs["millrace"]).wall - sum(
        median(stages.get(name, 0.0) for stages in measured.stages) for name in names
    )
    table.add_row("plan, ledger, meta/", f"{rest:.4f}", "")
    return table


if __name__ == "__main__":
    main()
