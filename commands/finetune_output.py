"""What `millrace finetune` prints on standard output: a line, or with --json an object."""

from collections.abc import Callable
from pathlib import Path
from traceback import print_exc
from typing import TYPE_CHECKING, TextIO

from millrace.commands.json_output import describe_error, to_json_text
from millrace.embodiments import MillraceError
from millrace.train.errors import TrainingStopped
from millrace.train.settings import FinetuneSettings

WRONG_COMMAND = 2  # the run did not begin

if TYPE_CHECKING:  # which take seconds to import
    from millrace.train.preflight import Preflight


def describe_check(checked: "Preflight") -> dict[str, object]:
    """What was checked before a run, as data: its problems, and its plan as far as it could be made."""
    return {"is_valid": checked.is_valid, "problems": checked.problems, "plan": checked.plan}


def train_for_json(
    settings: FinetuneSettings,
    train: Callable[[FinetuneSettings], Path],
    checked: dict[str, object],
    *,
    stdout: TextIO,
    debug: bool = False,
) -> int:
    """Train, and print what came of it, also of a run that has failed or was stopped; returns the exit code.

    Args:
        settings: Of the run.
        train: Trains, and returns the last checkpoint.
        checked: What `describe_check` made of the run.
        stdout: Where JSON goes.
        debug: Whether to show tracebacks, on standard error.

    Raises:
        MillraceError: the run did not begin.
    """
    from millrace.train.run_result import read_run_result

    try:
        train(settings)
    except MillraceError as error:
        if error.exit_code == WRONG_COMMAND:
            raise
        if debug:
            print_exc()
        run = read_run_result(settings, "stopped" if isinstance(error, TrainingStopped) else "failed")
        print(to_json_text({"error": describe_error(error), "quarantined": (), "run": run}), file=stdout)
        return error.exit_code
    print(to_json_text({**checked, "run": read_run_result(settings, "finished")}), file=stdout)
    return 0
