"""`millrace report`."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.flags import name_flag, show
from millrace.commands.json_output import to_json_text
from millrace.commands.print_flags import PrintFlags
from millrace.commands.progress import show_stages
from millrace.commands.read_flags import ReadFlags
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError
from millrace.engine.planning import ConversionPlan
from millrace.train.flag_types import Flag

PAGES = (".html", ".htm")


@dataclass(frozen=True, kw_only=True)
class MakeReport(ReadFlags, PrintFlags):
    """Write a page to look at: what a dataset holds, its images and curves, and what is wrong with it.

    One HTML file that loads nothing; open it in any browser. Examples:

    millrace report data/aloha

    millrace report data/aloha --out aloha.html --open

    millrace report hf://lerobot/aloha_sim_transfer_cube_human --episodes 0:4
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset: of any LeRobot layout, of HDF5 files, or of recordings of Unitree's xr_teleoperate; or
    hf://org/name[@revision] on the Hub, or an address in a store, such as s3://bucket/folder."""
    out: Annotated[Path, arg(metavar="FILE.html")] = Path("report.html")
    """Where to write; a report that is there is replaced."""
    open: Flag = False
    """Open it in the browser."""
    episodes: Annotated[str | None, arg(metavar="A:B|LIST")] = None
    """Report these episodes only: 0:10, the same as 0-9; -3: for the last three; or a list such as 0,3,10:20."""

    when_stopped = "stopped; no report was written"

    def run(self) -> int:
        """Write the report, and print where it is."""
        check_page_name("out", self.out)
        from millrace.engine.report import write_report

        reading = self.settings()
        with show_stages(Console(stderr=True)) as on_progress:
            inspection = write_report(
                self.dataset, self.out, episodes=self.episodes, write=show, on_progress=on_progress, **reading
            )
        print(to_json_text({"report": str(self.out)}) if self.json else self.out)
        counts = f"{inspection.num_inspected:,} of {inspection.num_episodes:,} episodes"
        hint = "" if self.open else "; open it in a browser, or let --open do so"
        print(f"a report of {counts}{hint}", file=sys.stderr)
        if self.open:
            _open_in_browser(self.out)
        return 0


def check_page_name(setting: str, path: Path) -> None:
    """Check that a page is written as HTML.

    Raises:
        RecipeError: its name says otherwise.
    """
    if path.suffix.lower() not in PAGES:
        advice = Remedy(f"name it {path.with_suffix('.html')}")
        raise RecipeError(f"{name_flag(setting)} {path}: a page is an HTML file; ", advice, got=str(path))


def write_reports(finished: Iterable[tuple[ConversionPlan, Path, Path]]) -> None:
    """Write the report of each dataset that a conversion finished; without one it is finished all the same.

    Args:
        finished: What `convert` passes to on_finish.
    """
    from millrace.engine.report import report_conversion

    for plan, made, folder in finished:
        report = report_conversion(plan, made, folder, write=show)
        if report.why is None:
            print(f"report: {report.path}; open it in a browser", file=sys.stderr)
        else:
            print(f"the dataset is finished, but has no report {report.path}: {show(report.why)}", file=sys.stderr)


def _open_in_browser(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print(f"no browser could be started; open {path} yourself", file=sys.stderr)
