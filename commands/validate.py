"""`millrace validate`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.flags import show
from millrace.commands.print_flags import PrintFlags
from millrace.commands.progress import show_stages
from millrace.commands.report_page import check_page_name
from millrace.engine.dataset.releases import GrootChoice
from millrace.engine.errors import DatasetError
from millrace.engine.execution.capacity import reader_processes
from millrace.engine.sources import fetch_dataset, locate_source
from millrace.engine.sources.location import is_remote_address
from millrace.engine.validate import Report, VideoBackend, format_report, to_json, validate
from millrace.train.flag_types import Flag
from millrace.train.installed import choose_release


@dataclass(frozen=True, kw_only=True)
class Validate(PrintFlags):
    """Check that a dataset is what GR00T and LeRobot expect; any dataset, not only Millrace's.

    LeRobot v3.0, told by its files, is judged by what LeRobot reads; with --gr00t n1.6 or n1.7, or --video-backend, it
    is an error, as GR00T reads v2.1. Exit code 0, or 1 with the list of what is wrong; warnings alone are 0, unless
    --strict. Examples:

    millrace validate out/aloha_gr1

    millrace validate out/aloha_gr1_v30

    millrace validate out/aloha_gr1 --deep --html aloha_gr1.html

    millrace validate out/aloha_gr1 --gr00t n1.7 --json --strict

    millrace validate hf://my-org/aloha-gr1
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset; or hf://org/name[@revision] on the Hub, or s3://bucket/folder and the like, which
    is downloaded into a cache."""
    deep: Flag = False
    """Also decode every frame."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T that it is for; auto: the one that is installed, or else each, and what only some of them
    refuse is a warning."""
    video_backend: VideoBackend | None = None
    """The decoder that GR00T is to use: videos that it cannot read are errors."""
    strict: Flag = False
    """Exit with 1 for warnings, too."""
    html: Annotated[Path | None, arg(metavar="FILE.html")] = None
    """Also write a page to look at, with the problems on it: see `millrace report`."""
    temp: Annotated[Path | None, arg(metavar="DIR")] = None
    """A folder for temporary files, 4 bytes for each number of the rows; by default the system's."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Validate and print the problems; returns 1 if there are any. With --html, write the page."""
        if self.html is not None:
            check_page_name("html", self.html)
        release = choose_release(self.gr00t)
        is_for_groot = self.gr00t != "auto" or self.video_backend is not None
        with show_stages(Console(stderr=True)) as on_progress:
            report = validate(
                fetch_dataset(self.dataset),
                deep=self.deep,
                gr00t=None if release is None else release.choice,
                video_backend=self.video_backend,
                layout="v2.1" if is_for_groot else None,
                scratch=self.temp,
                num_processes=reader_processes(),
                on_progress=on_progress,
            )
        print(to_json(report) if self.json else format_report(report))
        if self.html is not None:
            self._write_page(self.html, report)
        return 0 if report.is_valid and not (self.strict and report.warnings) else 1

    def _write_page(self, page: Path, report: Report) -> None:
        """Write the page; of what cannot be opened as a dataset there is none."""
        from millrace.engine.report import write_report

        if not self.dataset.is_dir() and not is_remote_address(locate_source(str(self.dataset))):
            print(f"no page: there is no folder {self.dataset}", file=sys.stderr)
            return
        try:
            write_report(self.dataset, page, judgement=report, write=show)
        except DatasetError as error:
            print(f"no page: {show(error.message)}", file=sys.stderr)
        else:
            print(f"wrote {page}", file=sys.stderr)
