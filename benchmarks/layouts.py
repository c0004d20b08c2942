"""One conversion into both of LeRobot's layouts against one conversion for each: CPU seconds and bytes.

    python -m benchmarks.layouts                                # examples/, 32 episodes
    python -m benchmarks.layouts data/aloha --map aloha_to_gr1

Each run is in this process without Ray, into a folder of its own; runs take turns. Needs the extra `bench`, and Linux.
"""

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
from millrace.engine.packing import Layouts
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.sources import open_source

LOCAL = Workers(local=True)
RUNS = {"v2.1": Layouts(), "v3.0": Layouts(("v3.0",)), "v2.1,v3.0": Layouts(("v2.1", "v3.0"))}
TWO_RUNS = "v2.1, then v3.0"


@dataclass(frozen=True)
class Options:
    """Benchmark layouts."""

    source: Annotated[Path, tyro.conf.Positional] = EXAMPLE
    """A dataset; its episodes are repeated up to --episodes."""
    map: str = EXAMPLE_MAP
    """How joints become joints."""
    episodes: int = 32
    """Episodes, at least."""
    rounds: int = 3
    """Times that everything is measured; medians are shown."""


@dataclass(frozen=True)
class Output:
    """What is on disk after a run: files and bytes of both folders."""

    num_files: int
    num_bytes: int


def main() -> None:
    """Measure and print the table."""
    options = tyro.cli(Options, description=__doc__)
    num_repetitions = -(-options.episodes // len(open_source(options.source).episodes))
    sources = [{"path": options.source, "map": options.map, "task": "Benchmark.", "task_all": True}] * num_repetitions
    recipe = check_recipe({"sources": sources})
    costs: dict[str, list[Cost]] = {}
    outputs: dict[str, Output] = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for name, layouts in RUNS.items():
            with tempfile.TemporaryDirectory() as folder:
                costs.setdefault(name, []).append(measure(_run(recipe, Path(folder), layouts), num_episodes=1))
                outputs[name] = _read_output(Path(folder))
    Console().print(_table({name: typical(found) for name, found in costs.items()}, outputs))


def _run(recipe: Recipe, folder: Path, layouts: Layouts) -> Callable[[], object]:
    return lambda: convert(recipe, folder / "out", workers=LOCAL, layouts=layouts)


def _read_output(folder: Path) -> Output:
    paths = [path for path in folder.rglob("*") if path.is_file() and ".millrace" not in path.parts]
    return Output(len(paths), sum(path.stat().st_size for path in paths))


def _table(costs: dict[str, Cost], outputs: dict[str, Output]) -> Table:
    table = Table("run", "CPU s", "wall s", "files", "MB")
    for name, cost in costs.items():
        table.add_row(name, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", *_describe(outputs[name]))
    both = [costs[name] for name in ("v2.1", "v3.0")]
    cpu, wall = sum(cost.cpu or 0 for cost in both), sum(cost.wall for cost in both)
    of_both = [outputs[name] for name in ("v2.1", "v3.0")]
    total = Output(sum(one.num_files for one in of_both), sum(one.num_bytes for one in of_both))
    table.add_row(TWO_RUNS, f"{cpu:.2f}", f"{wall:.2f}", *_describe(total))
    return table


def _describe(output: Output) -> tuple[str, str]:
    return str(output.num_files), f"{output.num_bytes / 1e6:.2f}"


if __name__ == "__main__":
    main()
