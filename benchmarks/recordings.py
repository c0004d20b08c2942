"""What it costs to convert recordings as rigs write them, against the floor and against others' converters.

    python -m benchmarks.recordings
    python -m benchmarks.recordings --xr "python CONVERTER.py --raw-dir {source} --repo-id org/{out} ..."

The same frames of examples/aloha are written as each format has them, four cameras of 480x640; Millrace converts them
with `--robot same --fps source`, to its own size and to that of the source. The floor is what nobody can go below with
these codecs: reading and decoding (of arrays: reading alone), scaling, and encoding, of all frames, in one process.

Others' converters are commands; {source} stands for the folder of recordings, {out} for a new name. Each runs with one
episode and with all, and the difference counts: imports and starts do not. What they make is their own matter: other
codecs, other sizes, or PNG files.

Needs Millrace with its extras `bench` and `hdf5`, and Linux.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.floor import _time_encode
from benchmarks.measure import measure
from benchmarks.recording_writers import WRITERS, Frames, read_frames
from millrace.engine.convert import Workers, convert, plan_conversion
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.video.images import decode_images
from millrace.engine.video.reframe import Reframer

LOCAL = Workers(local=True)
NUMBERS = count()
XR, ACT_ARRAYS, ACT_FILES, ROBOMIMIC = WRITERS
FLOOR, MILLRACE, MILLRACE_WHOLE = "floor", "millrace, 256x256", "millrace, source's size"


@dataclass(frozen=True)
class Options:
    """Benchmark recordings."""

    frames: int = 100
    """Frames of each episode."""
    episodes: int = 3
    """Episodes of each format, at least two."""
    rounds: int = 3
    """Times that everything is measured; medians are shown."""
    xr: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A command that converts xr_teleoperate's recordings; may be given several times."""
    act: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A command that converts ACT's files; may be given several times."""
    json: Path | None = None
    """Also write the figures here."""


Rates = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = tyro.cli(Options, description=__doc__)
    others = {XR: options.xr, ACT_ARRAYS: options.act, ACT_FILES: options.act, ROBOMIMIC: ()}
    frames = read_frames(options.frames)
    rates: Rates = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for layout in WRITERS:
            for name, rate in measure_layout(layout, frames, options.episodes, others[layout]).items():
                rates.setdefault(layout, {}).setdefault(name, []).append(rate)
    typical = {layout: {name: median(found) for name, found in of.items()} for layout, of in rates.items()}
    Console().print(_table(typical))
    print(f"{options.episodes} episodes of {options.frames} frames, four cameras of 480x640; {options.rounds} rounds")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"frames_per_cpu_second": typical}, indent=2) + "\n")


def measure_layout(layout: str, frames: Frames, num_episodes: int, commands: Sequence[str]) -> dict[str, float]:
    """Frames of all cameras a CPU second, of each way from one format, one after the other.

    A command that fails is left out, and says so.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        one, all_of_them = (WRITERS[layout](root / f"{number}", frames, number) for number in (1, num_episodes))
        plan = plan_conversion(_recipe(all_of_them, 256))
        num_images = sum(len(episode.episode.clips) * episode.num_frames for episode in plan.episodes)
        found = {FLOOR: num_images / floor_seconds(plan)}
        for name, size in ((MILLRACE, 256), (MILLRACE_WHOLE, "source")):
            recipe = _recipe(all_of_them, size)
            cost = measure(lambda recipe=recipe, name=name: convert(recipe, root / name, workers=LOCAL), num_episodes=1)
            found[name] = num_images / (cost.cpu or cost.wall)
        for number, command in enumerate(commands, start=1):
            first, whole = (_run(command, source) for source in (one, all_of_them))
            if first is not None and whole is not None:
                found[f"command {number}"] = num_images * (1 - 1 / num_episodes) / (whole - first)
        print(f"{layout}: {found}", file=sys.stderr)
        return found


def _recipe(source: Path, size: int | str) -> Recipe:
    """As `millrace convert --robot same --fps source`."""
    of = {"path": source, "task": "Benchmark.", "task_all": True}
    return check_recipe({"robot": "same", "fps": "source", "image_size": size, "sources": [of]})


def floor_seconds(plan: ConversionPlan) -> float:
    """CPU seconds of reading and decoding, scaling, and encoding all frames that a plan converts, and no more."""
    reframer = Reframer(crop=plan.job.crop, size=plan.job.video.size)
    seconds = 0.0
    for planned in plan.episodes:
        indices = np.arange(planned.num_frames)
        for camera in plan.job.bindings[planned.binding].cameras.values():
            started = process_time()
            reframed = [reframer(frame) for frame in decode_images(planned.episode.clips[camera], indices)]
            seconds += process_time() - started + _time_encode(reframed, plan.job.video)
    return seconds


def _run(command: str, source: Path) -> float | None:
    """CPU seconds of a command and of its children; None where it fails."""
    values = {"source": str(source), "out": f"benchmark_{next(NUMBERS)}"}
    words = [word.format(**values) for word in shlex.split(command)]
    done: list[subprocess.CompletedProcess[str]] = []
    cost = measure(
        lambda: done.append(subprocess.run(words, capture_output=True, text=True, check=False)), num_episodes=1
    )
    if done[0].returncode:
        print(f"{shlex.join(words)} failed:\n{done[0].stderr[-2000:]}", file=sys.stderr)
        return None
    return cost.cpu or cost.wall


def _table(rates: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("from", "way", "frames per CPU s", "against floor")
    for column in table.columns[2:]:
        column.justify = "right"
    for layout, found in rates.items():
        for name, rate in found.items():
            table.add_row(layout if name == FLOOR else "", name, f"{rate:,.0f}", f"{rate / found[FLOOR]:.2f}")
    return table


if __name__ == "__main__":
    main()
