"""What was found, on disk from the first figure on, and as tables."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.gpu_checks import Quality
from benchmarks.gpu_limits import Bound
from benchmarks.gpu_rates import Attempt, Rate
from benchmarks.gpu_works import Work

MAX_CHARS = 200
PUBLISHED = (
    "published: engines (?: no number is known) x frames/s of one, from NVIDIA's at 1080p in proportion to pixels; "
    "*: at NVIDIA's video clock, not this card's. NVENC: of its presets P5 and P3, ours is P4"
)


class Record:
    """A JSON file that is whole after every figure, whatever happens to this process or the machine's next hour."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = {"is_complete": False}

    def note(self, **figures: Any) -> None:
        """Facts by name."""
        self.figures.update(figures)
        self._write()

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Another row of a list."""
        self.figures.setdefault(name, []).append(row)
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        with part.open("w") as file:
            file.write(json.dumps(self.figures, indent=2, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


@dataclass(frozen=True)
class Checked:
    """What was checked of a source's codec. problem: why there is no quality to tell."""

    what: str
    codec: str
    qualities: Sequence[Quality] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Timed:
    """A line of the table: a piece of work with all that was tried of it."""

    work: Work
    bound: Bound | None
    attempts: Sequence[Attempt]

    @property
    def done(self) -> list[tuple[int, Rate]]:
        """What succeeded, by the number of processes."""
        return [(one.num_processes, one.rate) for one in self.attempts if one.rate is not None]

    @property
    def problem(self) -> str | None:
        """Why no more processes were tried."""
        failed = (one for one in self.attempts if one.problem is not None)
        return next((f"with {one.num_processes}: {one.problem}" for one in failed), None)


def check_table(checked: Sequence[Checked]) -> Table:
    """Each bound, and whether it is met."""
    table = Table("check on ALOHA's pictures", "found", "bound", "")
    for one in checked:
        name = f"{one.what}, {one.codec}"
        for quality in one.qualities:
            told = "ok" if quality.is_met else "NOT MET"
            table.add_row(f"{name}: {quality.what}", f"{quality.found:.4g}", quality.bound, told)
        if one.problem is not None:
            table.add_row(name, "", "", Text(shortened(f"FAILED: {one.problem}")))
    return table


def rate_table(timed: Sequence[Timed]) -> Table:
    """Alone, and with as many processes as do most together."""
    table = Table("stage", "where", "alone", "at once", "together", "CPU ms", "MB/s", "published", "busy")
    for column in table.columns[:8]:
        column.no_wrap = True
    for column in table.columns[2:8]:
        column.justify = "right"
    if any(line.bound for line in timed):
        table.caption = PUBLISHED
    for line in timed:
        table.add_row(line.work.stage, line.work.where, *_rate_cells(line), Text("; ".join(_remarks(line))))
    return table


def _rate_cells(line: Timed) -> list[str]:
    published = "" if line.bound is None else str(line.bound)
    if not line.done:
        return ["", "", "FAILED", "", "", published]
    (_, alone), (num_processes, most) = line.done[0], max(line.done, key=lambda one: one[1].frames_per_second)
    moved = line.work.transfer_bytes * most.frames_per_second / 1e6
    return [
        f"{alone.frames_per_second:,.0f}",
        str(num_processes),
        f"{most.frames_per_second:,.0f}",
        f"{most.cpu_ms:.2f}",
        f"{moved:,.0f}" if line.work.transfer_bytes else "",
        published,
    ]


def _remarks(line: Timed) -> Iterator[str]:
    if line.done:
        _, most = max(line.done, key=lambda one: one[1].frames_per_second)
        if most.busy:
            yield ", ".join(f"{name} {value}" for name, value in most.busy.items())
    if line.problem is not None:
        yield shortened(f"FAILED {line.problem}")


def shortened(text: str) -> str:
    """For a table; the record has all of it."""
    return shorten(text, MAX_CHARS, placeholder=" ...")
