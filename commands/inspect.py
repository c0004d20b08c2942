"""`millrace inspect`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.flags import show
from millrace.commands.inspection_text import print_inspection
from millrace.commands.print_flags import PrintFlags
from millrace.commands.progress import show_stages
from millrace.commands.read_flags import ReadFlags
from millrace.commands.report_page import check_page_name
from millrace.commands.tables import make_console
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError
from millrace.engine.inspection import inspect_dataset, make_contact_sheet
from millrace.engine.text import printable
from millrace.train.flag_types import Bare, option

# From the worst on.
SEVERITIES = ("error", "warning")


@dataclass(frozen=True, kw_only=True)
class Inspect(ReadFlags, PrintFlags):
    """Show what a dataset holds, which robot it is of, and what is wrong with it.

    Exit code 0 whatever is found, unless --strict; 1 if the folder cannot be opened as a dataset. Examples:

    millrace inspect data/aloha

    millrace inspect data/aloha --sheet aloha.png

    millrace inspect data/aloha --html aloha.html

    millrace inspect data/aloha --json --strict error

    millrace inspect hf://lerobot/aloha_sim_transfer_cube_human
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset: of any LeRobot layout, of HDF5 files, or of recordings of Unitree's xr_teleoperate; or
    hf://org/name[@revision] on the Hub, or an address in a store, such as s3://bucket/folder."""
    episodes: Annotated[str | None, option("A:B|LIST")] = None
    """Look into these episodes only: 0:10, the same as 0-9; -3: for the last three; or a list such as 0,3,10:20."""
    sheet: Annotated[Path | None, option("FILE.png")] = None
    """Also draw a contact sheet: a row of images for each of some episodes."""
    html: Annotated[Path | None, option("FILE.html")] = None
    """Also write a page to look at: see `millrace report`."""
    strict: Annotated[Literal["error", "warning"] | None, option("[error|warning]"), Bare("warning")] = None
    """Exit with 1 for errors and warnings; `--strict error`: for errors alone."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Inspect and print; with --sheet, draw the contact sheet; with --html, write the page."""
        if self.sheet is not None and self.sheet.suffix.lower() != ".png":
            png = self.sheet.with_suffix(".png")
            advice = Remedy(f"name it {png}")
            raise RecipeError(f"--sheet {self.sheet}: a contact sheet is a PNG; ", advice, got=str(self.sheet))
        if self.html is not None:
            check_page_name("html", self.html)
        reading = self.settings()
        with show_stages(Console(stderr=True)) as on_progress:
            inspection = inspect_dataset(self.dataset, episodes=self.episodes, on_progress=on_progress, **reading)
            if self.html is not None and inspection.is_open:
                from millrace.engine.report import write_report

                write_report(
                    self.dataset, self.html, inspection=inspection, episodes=self.episodes, write=show, **reading
                )
        if self.json:
            print(inspection.to_json())
        else:
            print_inspection(inspection, make_console())
        if not inspection.is_open:
            return 1
        if self.sheet is not None:
            drawn = make_contact_sheet(self.dataset, self.sheet, episodes=self.episodes, **reading)
            episodes, cameras = ", ".join(map(str, drawn.episodes)), printable(", ".join(drawn.cameras))
            print(f"wrote {self.sheet}: episodes {episodes}, each with {cameras}", file=sys.stderr)
        if self.html is not None:
            print(f"wrote {self.html}", file=sys.stderr)
        failing = SEVERITIES[: SEVERITIES.index(self.strict) + 1] if self.strict else ()
        return int(any(finding.severity in failing for finding in inspection.findings))
