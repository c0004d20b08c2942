"""What the driver needs for datasets of up to a million episodes: planning, handing to Ray, ledger, commit; no videos.

    python -m benchmarks.scale                                  # a table, and docs/scale.png
    python -m benchmarks.scale --episodes 1000000 --folder DIR  # a million: 20 GB of files
    python -m benchmarks.scale --episodes 1000,10000            # less
    python -m benchmarks.scale --episodes 10000 --pack          # and LeRobot v3.0 of it, with small videos
    python -m benchmarks.scale --episodes 2000 --renumber       # and rows with other numbers, as after cuts

The episodes are those of examples/, named over and over; the rows that the commit reads are hard links to theirs, and
so are the clips that are packed.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import matplotlib.pyplot as plt
import tyro
from rich.console import Console
from rich.table import Table

from millrace.engine.convert import Workers, convert, plan_conversion
from millrace.engine.dataset.record import EpisodeRecord, FileRecord
from millrace.engine.execution.ray_data import batch_rows, ray_data_session
from millrace.engine.layout import WORK, EpisodePaths
from millrace.engine.output.commit import commit
from millrace.engine.output.ledger import Ledger
from millrace.engine.output.renumber import renumber_rows
from millrace.engine.packing import pack_dataset
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/aloha"
MAP = "aloha_to_gr1"
NUM_WORKERS = 2
# Of one file: ext4 allows 65,000.
MAX_LINKS = 60_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """Benchmark the driver."""

    episodes: str = "1000,3000,10000,30000,100000"
    """Sizes to try, a comma between."""
    plot: Path = ROOT / "docs/scale.png"
    """Where the picture goes."""
    folder: Path | None = None
    """Where datasets are made, each deleted afterwards; the system's temporary folder by default."""
    json: Path | None = None
    """Also write the figures here."""
    pack: bool = False
    """Also pack the dataset into LeRobot v3.0, in a process of its own: frames of 64 pixels, at 5 Hz."""
    renumber: bool = False
    """Also give all rows other numbers, as after a cut in the first episode, before the commit."""


@dataclass(frozen=True)
class Found:
    """Seconds and peak memory of the driver for a number of episodes; renumber_cpu_seconds: its workers' included."""

    num_episodes: int
    plan_seconds: float
    hand_over_seconds: float
    ledger_seconds: float
    commit_seconds: float
    commit_cpu_seconds: float
    plan_cpu_seconds: float
    planned_mb: float
    peak_mb: float
    renumber_seconds: float = 0.0
    renumber_cpu_seconds: float = 0.0
    pack_seconds: float = 0.0
    pack_mb: float = 0.0


def main() -> None:
    """Measure each size in a process of its own, print, plot."""
    options = tyro.cli(Options, description=__doc__)
    table = Table(
        *("episodes", "plan, s", "hand over, s", "ledger, s", "commit, s"),
        *("CPU ms an episode: plan", "commit", "peak memory, MB"),
        *(("renumber, s", "renumber, ms of a core per episode") if options.renumber else ()),
        *(("pack, s", "peak memory, MB") if options.pack else ()),
    )
    for column in table.columns:
        column.justify = "right"
    found = []
    for num_episodes in (int(size) for size in options.episodes.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            one = _in_own_process(measure, num_episodes, Path(folder), options.pack, options.renumber)
            if options.pack:
                seconds, peak_mb = _in_own_process(pack, Path(folder))
                one = replace(one, pack_seconds=seconds, pack_mb=peak_mb)
        print(one, file=sys.stderr)
        found.append(one)
        seconds_each = (one.plan_seconds, one.hand_over_seconds, one.ledger_seconds, one.commit_seconds)
        times = (f"{seconds:.1f}" for seconds in seconds_each)
        per_episode = (f"{1000 * cpu / num_episodes:.2f}" for cpu in (one.plan_cpu_seconds, one.commit_cpu_seconds))
        packed = (f"{one.pack_seconds:.1f}", f"{one.pack_mb:.0f}") if options.pack else ()
        cpu = f"{1000 * one.renumber_cpu_seconds / num_episodes:.1f}"
        renumbered = (f"{one.renumber_seconds:.1f}", cpu) if options.renumber else ()
        table.add_row(f"{num_episodes:,}", *times, *per_episode, f"{one.peak_mb:.0f}", *renumbered, *packed)
    Console().print(table)
    if not options.pack and not options.renumber:
        plot(found, options.plot)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")


def _in_own_process(work: Callable[..., Result], *arguments: object) -> Result:
    """What some work returns; its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure(num_episodes: int, folder: Path, has_clips: bool, is_renumbered: bool) -> Found:
    """Plan that many episodes, hand them to Ray, record them, commit them.

    Args:
        num_episodes: How many.
        folder: The dataset is made in it, as out/.
        has_clips: Make small ones, and link them.
        is_renumbered: Change the numbers of all rows.
    """
    source, out, example = (folder / name for name in ("source", "out", "example"))
    settings = {"map": MAP, **({"image_size": 64, "fps": 5} if has_clips else {})}
    _simulate_source(source, num_episodes)
    convert(Recipe.single(EXAMPLE, **settings), example, workers=Workers(local=True))
    started, before = perf_counter(), _cpu_seconds()
    plan = plan_conversion(Recipe.single(source, **settings))
    plan_seconds, plan_cpu_seconds, planned_mb = perf_counter() - started, _cpu_seconds() - before, _peak_mb()
    with ray_data_session(NUM_WORKERS, None) as data:
        started = perf_counter()
        batch_rows(data, plan.episodes, NUM_WORKERS)
        hand_over_seconds = perf_counter() - started
    started = perf_counter()
    (out / WORK).mkdir(parents=True)
    with Ledger(out, plan) as ledger:
        for record in _records(plan, example, plan_conversion(Recipe.single(EXAMPLE, **settings))):
            ledger.append(record)
        recorded = perf_counter()
        _link_files(plan, example, out, has_clips=has_clips)
        scratch = out / WORK / "run"
        scratch.mkdir()
        seconds = _renumber(plan, ledger, out, scratch) if is_renumbered else (0.0, 0.0)
        linked, before = perf_counter(), _cpu_seconds()
        commit(plan, ledger, out, scratch, num_processes=NUM_WORKERS)
    return Found(
        num_episodes,
        plan_seconds=plan_seconds,
        hand_over_seconds=hand_over_seconds,
        ledger_seconds=recorded - started,
        commit_seconds=perf_counter() - linked,
        commit_cpu_seconds=_cpu_seconds() - before,
        plan_cpu_seconds=plan_cpu_seconds,
        planned_mb=planned_mb,
        peak_mb=_peak_mb(),
        renumber_seconds=seconds[0],
        renumber_cpu_seconds=seconds[1],
    )


def _renumber(plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path) -> tuple[float, float]:
    """Seconds, and seconds of all cores, to give all rows other numbers: the mean of there and back."""
    moved = tuple(replace(episode, first_index=episode.first_index + 1) for episode in plan.episodes)
    started, cpu = perf_counter(), _cpu_seconds()
    for numbers in (replace(plan, episodes=moved), plan):
        ledger.follow(numbers)
        renumber_rows(numbers, ledger, out, scratch, num_processes=NUM_WORKERS)
    return (perf_counter() - started) / 2, (_cpu_seconds() - cpu) / 2


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def pack(folder: Path) -> tuple[float, float]:
    """Pack what `measure` made into LeRobot v3.0: seconds, and peak memory of this process without its workers."""
    started = perf_counter()
    pack_dataset(folder / "out", folder / "packed", num_processes=NUM_WORKERS)
    return perf_counter() - started, _peak_mb()


def _simulate_source(source: Path, num_episodes: int) -> None:
    """The metadata of a LeRobot v2.1 dataset; its rows and videos do not exist."""
    shutil.copytree(EXAMPLE / "meta", source / "meta")
    lines = [json.loads(line) for line in (EXAMPLE / "meta/episodes.jsonl").read_text().splitlines()]
    with (source / "meta/episodes.jsonl").open("w") as file:
        for index in range(num_episodes):
            file.write(json.dumps({**lines[index % len(lines)], "episode_index": index}) + "\n")


def _records(plan: ConversionPlan, example: Path, example_plan: ConversionPlan) -> Iterator[EpisodeRecord]:
    """What workers would report."""
    with Ledger(example, example_plan) as ledger:
        templates = list(ledger.records())
    for episode in plan.episodes:
        template = templates[episode.index % len(templates)]
        files = tuple(
            FileRecord(path=name, num_bytes=file.num_bytes, sha256=file.sha256)
            for name, file in zip(_paths(plan, episode.index), template.files, strict=True)
        )
        numbers = {"index": episode.index, "first_index": episode.first_index, "source_episode": episode.episode.index}
        yield template.model_copy(update={**numbers, "plan": episode.digest, "files": files})


def _paths(plan: ConversionPlan, index: int) -> list[Path]:
    """An episode's rows and clips, relative to the dataset."""
    paths = EpisodePaths(index, plan.job.chunks_size)
    return [paths.data, *(paths.video(camera) for camera in plan.cameras)]


def _link_files(plan: ConversionPlan, example: Path, out: Path, *, has_clips: bool) -> None:
    num_templates = len(list(example.glob("data/*/*.parquet")))
    files: dict[Path, tuple[Path, int]] = {}  # what each template's file is linked from, and how often
    for episode in plan.episodes:
        templates, paths = (_paths(plan, index) for index in (episode.index % num_templates, episode.index))
        for template, path in list(zip(templates, paths, strict=True))[: None if has_clips else 1]:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            linked, num_links = files.get(template, (example / template, 0))
            if num_links < MAX_LINKS:
                os.link(linked, out / path)
                files[template] = linked, num_links + 1
            else:
                shutil.copyfile(linked, out / path)
                files[template] = out / path, 1


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plot(found: list[Found], path: Path) -> None:
    """Seconds and megabytes against the number of episodes."""
    sizes = [one.num_episodes for one in found]
    figure, (time_axes, memory_axes) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for label, values in {
        "plan": [one.plan_seconds for one in found],
        "hand over to Ray": [one.hand_over_seconds for one in found],
        "ledger": [one.ledger_seconds for one in found],
        "commit": [one.commit_seconds for one in found],
    }.items():
        time_axes.loglog(sizes, values, marker="o", label=label)
    linear = [found[0].commit_seconds * size / sizes[0] for size in sizes]
    time_axes.loglog(sizes, linear, linestyle=":", color="gray", label="linear")
    time_axes.set(title="Time of the driver", xlabel="episodes", ylabel="seconds")
    time_axes.legend()
    memory_axes.semilogx(sizes, [one.planned_mb for one in found], marker="o", label="after planning")
    memory_axes.semilogx(sizes, [one.peak_mb for one in found], marker="o", label="peak, commit included")
    memory_axes.set(title="Memory of the driver", xlabel="episodes", ylabel="MB", ylim=(0, None))
    memory_axes.legend()
    for axes in (time_axes, memory_axes):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
