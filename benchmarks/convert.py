"""What a conversion costs, against the guide's script, ffmpeg, and the floor; all in one run, on the same episodes.

    python -m benchmarks.convert                                   # examples/, 64 episodes
    python -m benchmarks.convert data/aloha --map aloha_to_gr1     # your data
    python -m benchmarks.convert --workers 1,2,4 --json out/convert.json

Up to 8 of the source's episodes are taken, so many that each comes equally often among --episodes: every
method converts these. CPU seconds are of all processes. The floor is measured between Millrace's own episodes, in
one process, as a machine's speed drifts. The rate of worker processes and of Ray is held against that of one
process alone, times the workers, and against that of as many independent processes at once: what the machine itself
loses when all cores are busy. startup: seconds from launching the process to the first record, less what one
episode takes in a process alone, as that is work; bare: a pool of processes that import PyAV and pyarrow, and a Ray
Data pipeline, which do nothing. A worker's memory is measured on examples/, in episodes of 400 and of 4000 frames.

Needs Millrace with its extra `bench`, and Linux. Guide, ffmpeg and floor read whole mp4s (LeRobot v1 and v2).
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from benchmarks.floor import whole_clips
from benchmarks.measure import Cost, measure
from benchmarks.report import (
    FFMPEG_CORES,
    FFMPEG_ONE,
    MILLRACE,
    ExecutorFigures,
    Measured,
    describe_peaks,
    figures,
    print_tables,
    workers,
)
from benchmarks.runs import (
    EXAMPLE,
    EXAMPLE_MAP,
    bare_pool_seconds,
    bare_ray_seconds,
    rate_of_processes,
    repeated,
    run_local,
    run_workers,
    worker_peak_mb,
)
from millrace.engine.convert import plan_conversion
from millrace.engine.execution.workers import Workers
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources import Clip
from millrace.engine.video.encode import VideoSettings

MAX_DISTINCT_EPISODES = 8
RAY, PROCESSES = "Ray", "processes"


@dataclass(frozen=True)
class Options:
    """Benchmark conversion."""

    source: Annotated[Path, tyro.conf.Positional] = EXAMPLE
    """A dataset; its episodes are repeated up to --episodes."""
    map: str = EXAMPLE_MAP
    """How joints become joints."""
    workers: str = "1,2"
    """Numbers of workers to try, a comma between; local processes are more than one."""
    address: str | None = None
    """A running Ray cluster; by default an embedded Ray. A cluster's CPU and memory are not measured."""
    episodes: int = 64
    """Episodes of each run with workers, at least three for each worker."""
    rounds: int = 5
    """Times that everything is measured; medians are shown."""
    json: Path | None = None
    """Also write the figures here."""

    @property
    def worker_counts(self) -> list[int]:
        """Numbers of workers, as asked for; ValueError: not numbers."""
        return [int(count) for count in self.workers.split(",")]


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    if problem := _problem(options):
        print(f"benchmarks/convert.py: {problem}", file=sys.stderr)
        sys.exit(2)
    _allow_bytecode()
    plan = plan_conversion(Recipe.single(options.source, map=options.map, task="Benchmark.", task_all=True))
    few = repeated(plan, num_distinct(len(plan.episodes), options.episodes))
    measured = Measured()
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        _measure_round(few, options, measured)
    console = Console()
    print_tables(measured, console)
    _write(measured, options.json)
    if options.address is None:
        measured.peaks_mb = {str(num_frames): worker_peak_mb(num_frames) for num_frames in (400, 4000)}
        _write(measured, options.json)
    console.print(describe_peaks(measured))
    console.print(f"{len(few.episodes)} episodes; {options.rounds} rounds, medians; {figures(measured)['machine']}")


def _problem(options: Options) -> str | None:
    """What is wrong with the arguments."""
    try:
        counts = options.worker_counts
    except ValueError:
        return f"--workers {options.workers}: expected numbers with commas between, such as 1,2,4"
    if min(counts) < 1:
        return f"--workers {options.workers}: a run has at least 1 worker"
    if options.rounds < 1:
        return f"--rounds {options.rounds}: expected at least 1"
    if options.episodes < 3 * max(counts):
        return (
            f"--episodes {options.episodes} are too few for {max(counts)} workers: a steady rate leaves out two of "
            f"each worker's at the start and one at the end. Pass --episodes {3 * max(counts)} or more"
        )
    return None


def _allow_bytecode() -> None:
    """Else every process of Ray would compile all that it imports."""
    if sys.dont_write_bytecode:
        note = "PYTHONDONTWRITEBYTECODE or -B is set, which slows the startup down; Ray's processes run without it"
        print(f"warning: {note}", file=sys.stderr)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def num_distinct(num_available: int, num_episodes: int) -> int:
    """How many of the source's episodes are converted: each comes equally often among `num_episodes`."""
    most = min(num_available, num_episodes, MAX_DISTINCT_EPISODES)
    return next(count for count in range(most, 0, -1) if num_episodes % count == 0)


def _measure_round(few: ConversionPlan, options: Options, measured: Measured) -> None:
    """Each method once, one after the other, so that a slow minute of the machine hits all alike."""
    episodes = whole_clips(few)
    if episodes is not None:
        _measure_baselines(episodes, few.job.video, measured)
    local = run_local(few, with_floor=episodes is not None)
    if local.floor is not None:
        measured.floors.append(local.floor)
    measured.add(MILLRACE, local.cost)
    measured.stages.append(local.stage_seconds)
    many = repeated(few, options.episodes)
    for count in options.worker_counts:
        if options.address is None:
            at_once = local.rate if count == 1 else rate_of_processes(few, count)
            measured.process_efficiencies.setdefault(count, []).append(at_once / (count * local.rate))
        for name, settings in _executors(options, count).items():
            run = run_workers(many, settings)
            measured.add(f"{MILLRACE}, {name}, {workers(count)}", run.cost)
            measured.executors.setdefault(name, ExecutorFigures()).add(count, run, local)
    if options.address is None:
        most = max(options.worker_counts)
        measured.executors[RAY].bare_startups.append(bare_ray_seconds(most))
        if PROCESSES in measured.executors:
            measured.executors[PROCESSES].bare_startups.append(bare_pool_seconds(most))


def _executors(options: Options, num_workers: int) -> dict[str, Workers]:
    """What to run by the table's name; one local worker is the process alone."""
    ray = {RAY: Workers(num_workers, options.address, executor="ray")}
    if num_workers == 1 or options.address is not None:
        return ray
    return {PROCESSES: Workers(num_workers, executor="local"), **ray}


def _measure_baselines(episodes: list[list[Clip]], settings: VideoSettings, measured: Measured) -> None:
    # Here, as the processes of a run import this file too, and start without these.
    from benchmarks.baselines import convert_as_guide, convert_with_ffmpeg

    measured.add("guide", _measure_clips(convert_as_guide, episodes, settings, at_once=1))
    measured.add(FFMPEG_ONE, _measure_clips(convert_with_ffmpeg, episodes, settings, at_once=1))
    num_cores = len(os.sched_getaffinity(0))
    measured.add(FFMPEG_CORES, _measure_clips(convert_with_ffmpeg, episodes, settings, at_once=num_cores))


def _measure_clips(
    convert: Callable[[Clip, Path, VideoSettings], None],
    episodes: list[list[Clip]],
    settings: VideoSettings,
    *,
    at_once: int,
) -> Cost:
    clips = [clip for episode in episodes for clip in episode]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        outs = [Path(folder) / f"{number}.mp4" for number in range(len(clips))]
        settings_each = [settings] * len(clips)
        return measure(lambda: list(pool.map(convert, clips, outs, settings_each)), num_episodes=len(episodes))


def _write(measured: Measured, path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures(measured), indent=2) + "\n")


if __name__ == "__main__":
    main()
