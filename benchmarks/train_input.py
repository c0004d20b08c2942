"""What a training sample costs on its way to the trainer: GR00T's loader against ours, in one run.

    python -m benchmarks.train_input                            # examples/, converted with GOP 2 and 10
    python -m benchmarks.train_input out/gop2 out/gop10         # your own GR00T datasets
    python -m benchmarks.train_input --rounds 5 --json out/input.json

Both feed the real DataLoader (one worker, batches of 32, fork) with the real processor and collator, in training
mode, each in a process of its own. CPU is that of the worker and of the taker, the process that takes the batches as
one that trains does: ours resizes and normalises the images there, on a GPU where there is one. Shards: GR00T's
1024 steps at a sampling rate of 0.1, and so few steps that a shard holds about one split of each episode, as on a large
dataset. Parts are measured in one process without a DataLoader, on the CPU.

The release is that of the gr00t that is installed, N1.6 or N1.7. N1.7's processor is that of a Qwen3-VL made offline,
with the released model's treatment of images and a tokenizer of bytes.

Needs Millrace, GR00T (gr00t) with torchcodec, and Linux.
"""

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.groot_installed import require_groot
from benchmarks.input_parts import PARTS, run_parts
from benchmarks.input_runs import SAMPLING_RATE, Feed, InputCost, LoaderName, run_loader
from benchmarks.runs import EXAMPLE, EXAMPLE_MAP, in_fresh_process, repeated
from millrace.engine.convert import Workers, plan_conversion, run_plan
from millrace.engine.planning.recipe import Recipe
from millrace.train.training_dataset import TrainingDataset

LOADERS: tuple[LoaderName, ...] = ("gr00t", "millrace")
STEPS_A_SHARD = 1024  # the default
HORIZON = 16
GOPS = (2, 10)
NUM_EPISODES = 8
WIDTH = 150


@dataclass(frozen=True)
class Options:
    """Benchmark the trainer's input."""

    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """GR00T datasets with a modality_config.py for NEW_EMBODIMENT."""
    samples: int = 2048
    """Samples of each run, at least; whole shards are taken."""
    rounds: int = 3
    """Times that everything is measured; medians are shown."""
    json: Path | None = None
    """Also write the figures here."""


@dataclass
class Measured:
    """A value for each round."""

    costs: list[InputCost] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)

    def cost(self, name: str) -> float:
        """The median of a field of InputCost."""
        return median(getattr(cost, name) for cost in self.costs)

    def part(self, name: str) -> float:
        """The median of a part, ms."""
        return median(parts[name] for parts in self.parts)


def main() -> None:
    """Measure, print the tables, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    release = require_groot("benchmarks/train_input.py").name
    with tempfile.TemporaryDirectory() as folder:
        datasets = options.datasets or in_fresh_process(_convert_examples, Path(folder))
        measured = {feed: Measured() for dataset in datasets for feed in _feeds(dataset)}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for feed, found in measured.items():
                found.costs.append(in_fresh_process(run_loader, feed, options.samples))
                found.parts.append(in_fresh_process(run_parts, feed, options.samples))
    _print(measured, release)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"release": release, **_figures(measured)}, indent=2) + "\n")


def _convert_examples(folder: Path) -> tuple[Path, ...]:
    """The examples' episodes over and over, in one dataset for each GOP."""
    made = []
    for gop in GOPS:
        recipe = Recipe.single(EXAMPLE, map=EXAMPLE_MAP, task="Benchmark.", task_all=True, gop=gop)
        plan = repeated(plan_conversion(recipe), NUM_EPISODES)
        out = folder / f"gop{gop}"
        run_plan(plan, out, workers=Workers(local=True), started=perf_counter())
        made.append(out)
    return tuple(made)


def _feeds(dataset: Path) -> list[Feed]:
    """Both loaders at both shard sizes, the loaders next to each other."""
    lengths = TrainingDataset.open(dataset).lengths.values()
    num_steps = sum(max(0, length - HORIZON + 1) for length in lengths)
    sizes = dict.fromkeys((STEPS_A_SHARD, max(1, round(num_steps * SAMPLING_RATE))))
    return [Feed(loader, dataset, size) for size in sizes for loader in LOADERS]


def _print(measured: dict[Feed, Measured], release: str) -> None:
    headings = "samples/s", "worker ms", "taker ms", "CPU ms", "x", "MB a batch", "frames", "RSS MB"
    costs = _table(f"GR00T {release}: a sample through the DataLoader (one worker)", headings)
    parts = _table(f"GR00T {release}: CPU ms of a sample by part (one process, no DataLoader)", (*PARTS, "all"))
    for feed, found in measured.items():
        stock = measured[Feed("gr00t", feed.dataset, feed.shard_size)]
        costs.add_row(
            *_name(feed),
            f"{found.cost('samples_per_second'):.0f}",
            f"{found.cost('worker_ms'):.2f}",
            f"{found.cost('taker_ms'):.2f}",
            f"{found.cost('cpu_ms'):.2f}",
            f"{stock.cost('cpu_ms') / found.cost('cpu_ms'):.2f}",
            f"{found.cost('batch_mb'):.1f}",
            f"{found.cost('frames_decoded'):.2f}",
            f"{found.cost('peak_mb'):.0f}",
        )
        each = [found.part(part) for part in PARTS]
        parts.add_row(*_name(feed), *(f"{value:.2f}" for value in (*each, sum(each))))
    Console(width=WIDTH).print(costs, parts)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for heading in ("dataset", "steps a shard", "loader"):
        table.add_column(heading)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _name(feed: Feed) -> tuple[str, str, str]:
    return feed.dataset.name, str(feed.shard_size), feed.loader


def _figures(measured: dict[Feed, Measured]) -> dict[str, object]:
    """Medians, every figure that the tables show."""
    rows = [
        {
            "dataset": feed.dataset.name,
            "shard_size": feed.shard_size,
            "loader": feed.loader,
            **{name: found.cost(name) for name in (*asdict(found.costs[0]), "cpu_ms")},
            "part_ms": {part: found.part(part) for part in PARTS},
        }
        for feed, found in measured.items()
    ]
    return {"runs": rows, "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}


if __name__ == "__main__":
    main()
