"""`millrace pipeline`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from millrace.commands.flags import show
from millrace.commands.json_output import to_json_text
from millrace.commands.json_stdout import keep_stdout
from millrace.commands.pipeline_file import PipelineFile
from millrace.commands.pipeline_steps import read_steps
from millrace.commands.print_flags import PrintFlags
from millrace.commands.tables import make_console, print_line
from millrace.engine.dataset.releases import GrootChoice
from millrace.train.flag_types import Flag
from millrace.train.pipeline import judge_steps, review_steps, run_steps


@dataclass(frozen=True, kw_only=True)
class Pipeline(PrintFlags):
    """Convert, validate, finetune, evaluate, roll out and upload as one file describes; finished steps are skipped.

    The whole file is checked first, and what later steps need: base model, GPUs, packages, disk, logins. The same
    command again skips finished steps and continues a stopped one; a step runs again if the file or its inputs have
    changed. examples/pipeline.yaml shows all sections. Examples:

    millrace pipeline aloha.yaml --dry-run

    millrace pipeline aloha.yaml
    """

    file: Annotated[Path, tyro.conf.Positional, arg(metavar="FILE.yaml")]
    """Any of the sections convert (recipe, out, holdout, workers, executor, address, ship, local, gpu_share, skip_bad,
    verify, layout, data_file_mb, video_file_mb), validate, finetune, evaluate, rollout and upload (keys: the flags of
    these commands); paths are relative to the file."""
    gr00t: GrootChoice = "auto"
    """The release of GR00T that trains and evaluates, where the file's sections do not name one."""
    dry_run: Flag = False
    """Only check, and list the steps."""

    when_stopped = "stopped; the same command continues where this one stopped"

    def run(self) -> int:
        """Check the file, run the unfinished steps, and return the exit code of the first step that fails."""
        file = PipelineFile(self.file)
        steps = read_steps(file, self.gr00t)
        record = file.file.path.with_suffix(".done.json")
        states = review_steps(steps, record) if self.dry_run or self.json else []
        if self.dry_run and not self.json:
            for step, is_done in states:
                _tell(f"{step.name}: {'done' if is_done else 'to do'}: {step.summary}")
        wrong = list(judge_steps(steps, record))
        for line in wrong:
            print(show(line), file=sys.stderr)
        code = 1 if wrong else 0
        if not wrong and not self.dry_run:
            with keep_stdout(self.json):
                code = run_steps(steps, record, tell=_tell)
        if self.json:
            listed = [{"name": step.name, "summary": step.summary, "was_done": is_done} for step, is_done in states]
            print(to_json_text({"steps": listed, "problems": wrong, "exit_code": code}))
        return code


def _tell(line: str) -> None:
    print_line(line, make_console())
