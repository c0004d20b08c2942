"""`millrace pipeline`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_steps import read_steps
from millrace.commands.tables import print_line
from millrace.engine.hub.calls import HubName
from millrace.engine.output.upload import check_token
from millrace.train.flag_types import Flag
from millrace.train.groot import require_groot
from millrace.train.pipeline import review_steps, run_steps


@dataclass(frozen=True)
class Pipeline:
    """Convert, finetune, evaluate and upload as one file describes; finished steps are skipped.

    The whole file is checked first. The same command again skips finished steps and continues a stopped one; a step
    runs again if the file or its inputs have changed. examples/pipeline.yaml shows all sections. Examples:

    millrace pipeline aloha.yaml --dry-run

    millrace pipeline aloha.yaml
    """

    file: Annotated[Path, tyro.conf.Positional, arg(metavar="FILE.yaml")]
    """Any of the sections convert (recipe, out, holdout, workers, executor, address, local, gpu_share, skip_bad,
    verify), finetune, evaluate and upload (keys: the flags of these commands); paths are relative to the file."""
    dry_run: Flag = False
    """Only check the file, and list the steps."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped; the same command continues where this one stopped"

    def run(self) -> int:
        """Check the file, run the unfinished steps, and return the exit code of the first step that fails."""
        file = PipelineFile(self.file)
        steps = read_steps(file)
        record = file.file.path.with_suffix(".done.json")
        if self.dry_run:
            for step, is_done in review_steps(steps, record):
                _tell(f"{step.name}: {'done' if is_done else 'to do'}: {step.summary}")
            return 0
        self._check_means(file)
        return run_steps(steps, record, tell=_tell)

    def _check_means(self, file: PipelineFile) -> None:
        """Check now for what a step would lack only hours later.

        Raises:
            GrootMissing: GR00T is not installed.
            HubError: nobody is logged in to the Hub.
        """
        sections = file.content
        if {"finetune", "evaluate"} & set(sections):
            require_groot()
        if "upload" in sections:
            check_token(HubName("model", str(sections["upload"]["repo"])))


def _tell(line: str) -> None:
    print_line(line, Console())
