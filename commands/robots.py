"""`millrace robots`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.layout_file import draft_layout_file
from millrace.commands.print_flags import PrintFlags
from millrace.commands.read_flags import ReadFlags, ReadSettings
from millrace.commands.tables import make_console, make_table, print_line
from millrace.embodiments import VECTORS, Message, is_path, load_robot, robot_names
from millrace.engine.drafting.draft_robot import draft_robot
from millrace.engine.errors import DatasetError, OutputExists, RecipeError
from millrace.engine.planning.next_step import convert_command
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import SourceDataset, locate_source, open_source, why_unwritable

DRAFT_RATE = Fraction(20)


@dataclass(frozen=True, kw_only=True)
class Robots(ReadFlags, PrintFlags):
    """List the robots that ship, or draft a file for a robot of your own.

    A robot file names the joints of a robot, their groups, units and rest pose. Of HDF5 files of unknown keys a layout
    is drafted, too: which keys are state, action and cameras. Examples:

    millrace robots

    millrace robots new --from data/mine --out mine.yaml

    millrace robots new --from recordings/run_0.hdf5 --out mine.yaml
    """

    what: Annotated[Literal["list", "new"], tyro.conf.Positional, arg(metavar="list|new")] = "list"
    """What to do."""
    source: Annotated[str | None, arg(name="from", metavar="DATASET")] = None
    """A dataset of the new robot: its columns, joints and cameras are taken from there."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("robot.yaml")
    """The new robot's file."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Print the list, or write the draft."""
        console = make_console()
        if self.what == "list" and self.json:
            print(json.dumps([_facts(name) for name in robot_names()], indent=2))
            return 0
        if self.what == "list":
            console.print(make_table(("robot", "state", "action", "cameras", ""), map(_row, robot_names())))
            return 0
        if self.source is None:
            raise RecipeError("robots new needs --from DATASET")
        if self.out.exists():
            raise OutputExists(f"{self.out} exists; name another file with --out")
        lines = list(self._draft(self.source))
        if self.json:
            print(to_json_text({"robot": str(self.out), "lines": lines}))
        for line in () if self.json else lines:
            print_line(line, console)
        return 0

    def _draft(self, source: str) -> Iterator[str]:
        """Write the draft; print what it does not contain, and the next command."""
        layout = draft_layout_file(locate_source(source), self.out, self.format)
        yield from () if layout is None else layout.lines
        reading = self.settings()
        if layout is not None:
            reading["format"] = layout.name
        dataset = _open_for_draft(source, reading)
        draft = draft_robot(dataset, source)
        try:
            with self.out.open("x", encoding="utf-8") as file:
                file.write(draft.text)
        except OSError as error:
            raise RecipeError(f"{self.out} ", why_unwritable(self.out, error), file=self.out) from error
        for text in draft.skipped:
            yield f"left out: {text}"
        guess = guess_robot(dataset, source)
        if guess.name is not None and guess.confidence != "weak":
            yield f"the shipped robot '{guess.name}' fits this dataset: {guess.reason}. Without a file of your own:"
            yield from guess.commands
        yield f"wrote {self.out}: look through it, then"
        file_name = str(self.out) if is_path(str(self.out)) else f"./{self.out}"
        yield convert_command(dataset, source, ["--robot", file_name])


def _open_for_draft(source: str, reading: ReadSettings) -> SourceDataset:
    """Open a dataset whose rate may still be unknown, as a robot has none."""
    try:
        return open_source(locate_source(source), **reading)
    except DatasetError as error:
        if reading["fps"] is not None or all(
            setting.name != "source_fps" for setting in Message(error.message).settings
        ):
            raise
    reading["fps"] = DRAFT_RATE
    dataset = open_source(locate_source(source), **reading)
    return replace(dataset, options=replace(dataset.options, is_fps_assumed=True))


def _facts(name: str) -> dict[str, object]:
    robot = load_robot(name)
    joints: dict[str, object] = {vector: list(robot.layout(vector).joints) for vector in VECTORS}
    return {"robot": name, "description": robot.description, "cameras": list(robot.cameras), **joints}


def _row(name: str) -> tuple[str, ...]:
    robot = load_robot(name)
    widths = (str(robot.layout("state").width), str(robot.layout("action").width))
    return (name, *widths, ", ".join(robot.cameras), robot.description)
