"""What it costs to merge two datasets of ours, and to make LeRobot v3.0 of them, against LeRobot's own tools.

    python -m benchmarks.merge                                      # examples/, twice 32 episodes
    python -m benchmarks.merge data/aloha --map aloha_to_gr1 --lerobot /path/to/lerobot-0.6/bin/python

The source is converted into two datasets of --episodes each, over and over where it has fewer, in v2.1 and in v3.0.
All ways then do one of two works, in one process without Ray, from the same files:

    merge      the two in v3.0 become one in v3.0
    convert    each of the two becomes v3.0 from v2.1

LeRobot's tools join files. Millrace does the same work and no more (`benchmarks/join_alone.py`), and with all that it
promises: checks, digests, exact statistics. Of LeRobot only the calls count, not the seconds that its imports take.
Beside these: the merge of the two in v2.1, and the SHA-256 of all files of v2.1, which is reading them.

Needs Millrace with its extra `bench`, and Linux; --lerobot names a Python in which lerobot 0.4 or later is installed.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.join_alone import join_episodes, merge_joined
from benchmarks.lerobot_tools import measure_lerobot
from benchmarks.measure import Cost, measure, typical
from benchmarks.runs import EXAMPLE, EXAMPLE_MAP
from millrace.engine.convert import Workers, convert
from millrace.engine.packing import Layouts, pack_dataset
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.sources import open_source
from millrace.engine.summary import Summary

LOCAL = Workers(local=True)
BOTH, V30 = Layouts(("v2.1", "v3.0")), Layouts(("v3.0",))
CONVERSION, READ = "millrace, conversion of the source", "reading all files"
MERGE_V21 = "millrace, merge in v2.1"
MERGE_ALONE, MERGE_V30 = "millrace, merge, joining alone", "millrace, merge"
JOIN_ALONE, PACK, CONVERT = "millrace, convert, joining alone", "millrace, v3.0 beside v2.1", "millrace, convert"


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
    lerobot: tuple[Path, ...] = ()
    """Pythons with lerobot 0.4 or later; without any LeRobot's tools are left out."""
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


def _measure_round(recipe: Recipe, lerobots: tuple[Path, ...], folder: Path, costs: dict[str, list[Cost]]) -> int:
    """Each way once, one after the other, so that a slow minute of the machine hits all alike; frames of the whole."""

    def add(name: str, work: Callable[[], object]) -> None:
        costs.setdefault(name, []).append(measure(work, num_episodes=1))

    both = [folder / "a", folder / "b"]
    joined = [folder / "a_v30", folder / "b_v30"]
    add(CONVERSION, lambda: [convert(recipe, out, workers=LOCAL) for out in both])
    add(PACK, lambda: [pack_dataset(*each) for each in zip(both, joined, strict=True)])
    summaries: list[Summary] = []
    add(MERGE_V21, lambda: summaries.append(_merge(both, folder / "merged_v21", Layouts())))
    add(MERGE_V30, lambda: summaries.append(_merge(joined, folder / "merged", V30)))
    add(CONVERT, lambda: summaries.extend(_merge([path], folder / f"{path.name}_same", V30) for path in both))
    assert all(one.num_copied_clips == one.num_clips for one in summaries), "all clips of our own are copied"
    add(MERGE_ALONE, partial(merge_joined, joined, folder / "merged_alone"))
    add(JOIN_ALONE, lambda: [join_episodes(path, folder / f"{path.name}_alone") for path in both])
    add(READ, lambda: [_read(path) for path in both])
    for python in lerobots:
        for name, cost in measure_lerobot(python, [*both, *joined]).items():
            costs.setdefault(name, []).append(cost)
    return summaries[0].num_frames


def _merge(datasets: list[Path], out: Path, layouts: Layouts) -> Summary:
    """As `millrace convert --robot same --fps source`."""
    recipe = check_recipe({"robot": "same", "fps": "source", "sources": [{"path": path} for path in datasets]})
    return convert(recipe, out, workers=LOCAL, layouts=layouts)


def _read(dataset: Path) -> None:
    for path in dataset.rglob("*"):
        if path.is_file():
            hashlib.sha256(path.read_bytes())


def _table(figures: dict[str, Cost], num_frames: int) -> Table:
    table = Table("method", "CPU s", "wall s", "frames per CPU s", "against conversion")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    speeds = _frames_per_cpu_second(figures, num_frames)
    for name, cost in figures.items():
        against = f"{speeds[name] / speeds[CONVERSION]:.1f} x"
        table.add_row(name, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", f"{speeds[name]:,.0f}", against)
    return table


def _frames_per_cpu_second(figures: dict[str, Cost], num_frames: int) -> dict[str, float]:
    return {name: num_frames / cost.cpu for name, cost in figures.items() if cost.cpu}


if __name__ == "__main__":
    main()
