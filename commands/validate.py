"""`millrace validate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from commands.flags import Flag
from engine.progress import stage_progress
from engine.validate import format_report, validate


@dataclass(frozen=True)
class Validate:
    """Check that a dataset is what GR00T N1.6 and LeRobot expect; any GR00T dataset, not only Millrace's.

    Exit code 0, or 1 with the list of what is wrong. Examples:

    millrace validate out/aloha_gr1

    millrace validate out/aloha_gr1 --deep
    """

    dataset: Annotated[Path, tyro.conf.Positional, arg(metavar="DATASET")]
    """Folder of the dataset."""
    deep: Flag = False
    """Also decode every frame."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Validate and print what is wrong; 1 if anything is."""
        with stage_progress(Console(stderr=True)) as on_progress:
            report = validate(self.dataset, deep=self.deep, on_progress=on_progress)
        print(format_report(report))
        return 0 if report.is_valid else 1
