"""What a GPU does for a conversion: every stage probed, checked and timed in one go, against all cores of this machine.

    python benchmarks/gpu.py                                       # examples/, AV1 and the same in H.264
    python benchmarks/gpu.py --seconds 5 --json out/gpu.json

Rates are output frames a second, of one process alone and of as many at once as help; for the CPU that is a process a
core. CPU ms: of all processes, for each frame. MB/s: what crosses between host and card at that rate; of the card's
engines nvidia-smi tells how busy they are meanwhile. Without a GPU it says so and times the CPU.

Needs Millrace with its extra `gpu`, and Linux.
"""

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_checks import Quality, qualities  # noqa: E402
from gpu_rates import Rate, rates  # noqa: E402
from gpu_works import Setup, Work, transcoded, works  # noqa: E402
from runs import EXAMPLE, EXAMPLE_MAP  # noqa: E402

from commands.doctor import print_diagnosis  # noqa: E402
from engine.convert import plan_conversion  # noqa: E402
from engine.doctor import Diagnosis, diagnose  # noqa: E402
from engine.planning.recipe import Recipe  # noqa: E402
from engine.sources import Clip  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Benchmark the GPU path."""

    seconds: float = 3.0
    """Each rate is measured for so long."""
    image_size: int = 256
    """Side of the output's pictures."""
    json: Path | None = None
    """Also write the figures here."""


@dataclass(frozen=True)
class Timed:
    """One line of the table."""

    work: Work
    alone: Rate
    saturated: Rate


def main() -> None:
    """Probe, check, time, print, write."""
    options, console = tyro.cli(Options, description=__doc__), Console()
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's, in each process: as Ray has it for a worker of one core
    diagnosis = diagnose()
    print_diagnosis(diagnosis, console)
    if diagnosis.nodes[0].card is None:
        console.print("no GPU is in use here: only the CPU is timed; run this script again where one is")
    num_cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        setups = _setups(options, Path(folder))
        checked = [one for codec, setup in setups.items() for one in qualities(setup, codec, diagnosis.nodes[0])]
        console.print(_quality_table(checked))
        timed = [
            Timed(work, *rates(work, setup, num_cores=num_cores, seconds=options.seconds))
            for work, setup in _all_works(setups, diagnosis)
        ]
    console.print(_rate_table(timed))
    console.print(f"{num_cores} cores, {platform.processor() or platform.machine()}; {options.seconds:g} s each")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(_figures(diagnosis, checked, timed), indent=2) + "\n")


def _setups(options: Options, folder: Path) -> dict[str, Setup]:
    """An ALOHA clip as it is, AV1, and in H.264."""
    settings = {"fps": Fraction(20), "image_size": options.image_size, "task": "Benchmark."}
    plan = plan_conversion(Recipe.single(EXAMPLE, map=EXAMPLE_MAP, **settings))
    (camera, *_) = plan.job.bindings[0].cameras.values()
    clip = plan.episodes[0].episode.clips[camera]
    assert isinstance(clip, Clip), "the examples are videos"
    return {"av1": Setup(clip, plan.job), "h264": Setup(transcoded(clip, folder / "h264.mp4"), plan.job)}


def _all_works(setups: dict[str, Setup], diagnosis: Diagnosis) -> list[tuple[Work, Setup]]:
    """Each once: resize and encode do not depend on the codec."""
    report = diagnosis.nodes[0]
    found = {
        (work.stage, work.where): (work, setup)
        for codec, setup in setups.items()
        for work in works(setup, codec, lambda stage: report.problem(stage) is None)
    }
    return [found[key] for key in sorted(found)]


def _quality_table(checked: list[Quality]) -> Table:
    table = Table("check on ALOHA's pictures", "found", "bound", "")
    for one in checked:
        table.add_row(one.what, f"{one.found:.4g}", one.bound, "ok" if one.is_met else "NOT MET")
    return table


def _rate_table(timed: list[Timed]) -> Table:
    table = Table("stage", "where", "alone", "at once", "together", "CPU ms", "MB/s", "engines")
    for column in table.columns[:2]:
        column.no_wrap = True
    for column in table.columns[2:7]:
        column.justify = "right"
    for line in timed:
        work, most = line.work, line.saturated
        moved = work.transfer_bytes * most.frames_per_second / 1e6
        table.add_row(
            work.stage,
            work.where,
            f"{line.alone.frames_per_second:,.0f}",
            str(most.num_processes),
            f"{most.frames_per_second:,.0f}",
            f"{most.cpu_ms:.2f}",
            f"{moved:,.0f}" if work.transfer_bytes else "",
            ", ".join(f"{name} {value}" for name, value in most.engines.items()),
        )
    return table


def _figures(diagnosis: Diagnosis, checked: list[Quality], timed: list[Timed]) -> dict[str, object]:
    return {
        "diagnosis": diagnosis.model_dump(mode="json"),
        "checks": [{**asdict(one), "is_met": one.is_met} for one in checked],
        "rates": [
            {
                "stage": line.work.stage,
                "where": line.work.where,
                "transfer_bytes": line.work.transfer_bytes,
                "alone": asdict(line.alone),
                "saturated": asdict(line.saturated),
            }
            for line in timed
        ],
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


if __name__ == "__main__":
    main()
