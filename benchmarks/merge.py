"""What it costs to merge two datasets of ours, against converting them, reading them, and LeRobot's own merge tool.

    python -m benchmarks.merge                                      # examples/, twice 32 episodes
    python -m benchmarks.merge data/aloha --map aloha_to_gr1 --lerobot /path/to/lerobot-0.4/bin/python

The source is converted into two datasets of --episodes each, over and over where it has fewer; they are merged by
copying, in this process without Ray. Reading is the SHA-256 of all their files. LeRobot's tool merges the same
two after its own converter has made v3.0 of them, which is not counted: it joins a few large files where we copy
one for each episode. Of LeRobot only the call itself is counted, not the seconds that its imports take.

Needs Millrace with its extra `bench`, and Linux; --lerobot names a Python in which lerobot 0.4 is installed.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Cost, measure, typical
from benchmarks.runs import EXAMPLE, EXAMPLE_MAP
from millrace.engine.convert import Workers, convert
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.sources import open_source

LOCAL = Workers(local=True)
CONVERT, MERGE, READ, LEROBOT = "millrace, conversion", "millrace, merge", "reading all files", "lerobot, merge"

# Runs in LeRobot's Python: argv is the folder of the datasets "a" and "b"; prints CPU and wall seconds of the merge.
LEROBOT_MERGE = """
import resource, sys, time
from pathlib import Path
from lerobot.datasets.aggregate import aggregate_datasets
from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset
def cpu():
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
folder = Path(sys.argv[1])
for name in "ab":
    convert_dataset(name, root=folder, push_to_hub=False)
began, started = cpu(), time.perf_counter()
aggregate_datasets(["a", "b"], "merged", roots=[folder / "a", folder / "b"], aggr_root=folder / "merged")
print(cpu() - began, time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Options:
    """Benchmark merging."""

    source: Annotated[Path, tyro.conf.Positional] = EXAMPLE
    """A dataset; its episodes are repeated up to --episodes."""
    map: str = EXAMPLE_MAP
    """How joints become joints."""
    episodes: int = 32
    """Episodes of each of the two datasets, at least."""
    rounds: int = 5
    """Times that everything is measured; medians are shown."""
    lerobot: Path | None = None
    """A Python with lerobot 0.4; without it LeRobot's tool is left out."""
    json: Path | None = None
    """Also write the figures here."""


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    num_available = len(open_source(options.source).episodes)
    num_repetitions = -(-options.episodes // num_available)
    sources = [{"path": options.source, "map": options.map, "task": "Benchmark.", "task_all": True}] * num_repetitions
    recipe = check_recipe({"sources": sources})
    costs: dict[str, list[Cost]] = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            num_frames = _measure_round(recipe, options.lerobot, Path(folder), costs)
    figures = {name: typical(found) for name, found in costs.items()}
    Console().print(_table(figures, num_frames))
    print(f"{2 * num_repetitions * num_available} episodes, {num_frames} frames; {options.rounds} rounds, medians")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        speeds = _frames_per_cpu_second(figures, num_frames)
        options.json.write_text(json.dumps({"frames_per_cpu_second": speeds}, indent=2) + "\n")


def _measure_round(recipe: Recipe, lerobot: Path | None, folder: Path, costs: dict[str, list[Cost]]) -> int:
    """Each way once, one after the other, so that a slow minute of the machine hits all alike; frames of the whole."""

    def add(name: str, work: Callable[[], object]) -> None:
        costs.setdefault(name, []).append(measure(work, num_episodes=1))

    both = [folder / "a", folder / "b"]
    add(CONVERT, lambda: [convert(recipe, out, workers=LOCAL) for out in both])
    merge = check_recipe({"robot": _robot(both[0]), "sources": [{"path": path} for path in both]})
    summaries = []
    add(MERGE, lambda: summaries.append(convert(merge, folder / "merged", workers=LOCAL)))
    assert summaries[0].num_copied_clips == summaries[0].num_clips, "all clips of our own are copied"
    add(READ, lambda: [_read(path) for path in both])
    if lerobot is not None:
        costs.setdefault(LEROBOT, []).append(_measure_lerobot(lerobot, both, folder / "lerobot"))
    return summaries[0].num_frames


def _robot(dataset: Path) -> str:
    return str(json.loads((dataset / "meta/info.json").read_text())["robot_type"])


def _read(dataset: Path) -> None:
    for path in dataset.rglob("*"):
        if path.is_file():
            hashlib.sha256(path.read_bytes())


def _measure_lerobot(python: Path, datasets: list[Path], folder: Path) -> Cost:
    for dataset in datasets:
        shutil.copytree(dataset, folder / dataset.name, ignore=shutil.ignore_patterns(".millrace"))
    command = [str(python), "-W", "ignore", "-c", LEROBOT_MERGE, str(folder)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmarks/merge.py: LeRobot's tool failed:\n{done.stderr}")
    cpu, wall = map(float, done.stdout.split()[-2:])
    return Cost(cpu, wall)


def _table(figures: dict[str, Cost], num_frames: int) -> Table:
    table = Table("method", "CPU s", "wall s", "frames per CPU s", "against conversion")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    speeds = _frames_per_cpu_second(figures, num_frames)
    for name, cost in figures.items():
        against = f"{speeds[name] / speeds[CONVERT]:.1f} x"
        table.add_row(name, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", f"{speeds[name]:,.0f}", against)
    return table


def _frames_per_cpu_second(figures: dict[str, Cost], num_frames: int) -> dict[str, float]:
    return {name: num_frames / cost.cpu for name, cost in figures.items() if cost.cpu}


if __name__ == "__main__":
    main()
