"""What the driver needs for a recipe of many sources: seconds to plan, and its memory while episodes come in.

python -m benchmarks.recipe                          # 200 small sources of mixed layouts and rates
python -m benchmarks.recipe --sources 50 --workers 2
"""

import json
import resource
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
# The tests write datasets of every layout.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from millrace.engine.convert import Workers, convert, plan_conversion  # noqa: E402
from millrace.engine.dataset.record import EpisodeResult  # noqa: E402
from millrace.engine.planning.recipe_file import read_recipe  # noqa: E402
from millrace.engine.validate import validate  # noqa: E402
from support.many_sources import write_many  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Benchmark a recipe of many sources."""

    sources: int = 200
    """How many."""
    workers: int | None = None
    """Cores; by default all."""
    json: Path | None = None
    """Also write the figures here."""


@dataclass(frozen=True)
class Found:
    """Of the driver; memory is resident, when a third of the episodes was done and when all were."""

    num_sources: int
    num_episodes: int
    plan_seconds: float
    plan_cpu_seconds: float
    convert_seconds: float
    mb_at_a_third: float
    mb_at_the_end: float


@dataclass
class _Memory:
    """What the driver holds after each episode, MB."""

    held: list[float] = field(default_factory=list)

    def on_result(self, result: EpisodeResult) -> None:
        """Look."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.held.append(pages * resource.getpagesize() / 2**20)


def main() -> None:
    """Write the sources, plan, convert, print."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options)
    table = Table(show_header=False)
    for name, value in asdict(found).items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(found), indent=2) + "\n")


def measure(folder: Path, options: Options) -> Found:
    """One run over as many sources as are wanted."""
    recipe = read_recipe(write_many(folder, options.sources))
    started, cpu_started = perf_counter(), process_time()
    plan = plan_conversion(recipe)
    planned, cpu_planned = perf_counter(), process_time()
    memory = _Memory()
    convert(recipe, folder / "out", workers=Workers(options.workers), on_result=memory.on_result)
    converted = perf_counter()
    assert validate(folder / "out").is_valid, "what was converted is sound"
    return Found(
        num_sources=options.sources,
        num_episodes=len(plan.episodes),
        plan_seconds=planned - started,
        plan_cpu_seconds=cpu_planned - cpu_started,
        convert_seconds=converted - planned,
        mb_at_a_third=memory.held[len(memory.held) // 3],
        mb_at_the_end=memory.held[-1],
    )


if __name__ == "__main__":
    main()
