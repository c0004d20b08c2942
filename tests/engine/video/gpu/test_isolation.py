"""What a driver could do to a process is done to another one, and told in a line."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import sleep

import pytest

from conftest import REPOSITORY
from millrace.engine.video.gpu.isolation import run_isolated

WITHOUT_GUARD = """
from functools import partial
from millrace.engine.video.gpu.isolation import run_isolated
print("begun")
print(run_isolated(partial(len, "four"), str))
"""


def test_what_is_printed_is_no_part_of_the_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_isolated(partial(subprocess.call, ["echo", "noise"]), str) == 0
    assert run_isolated(partial(print, "noise"), str) is None
    assert run_isolated(os.getpid, str) != os.getpid()


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (os.abort, "the process that tried it died of SIGABRT: the driver or a library is broken"),
        (partial(os._exit, 3), "the process that tried it failed (exit status 3): the driver or a library is broken"),
        (
            partial(int, "x"),
            "the process that tried it failed (ValueError: invalid literal for int() with base 10: 'x')",
        ),
    ],
    ids=["crash", "exit", "error"],
)
def test_a_crash_is_told(work: Callable[[], object], told: str) -> None:
    assert run_isolated(work, str).startswith(told)


def test_what_it_means_is_up_to_the_caller() -> None:
    """Nothing but a GPU's work has a driver to blame."""
    assert run_isolated(os.abort, str, crash_reason="a codec crashed").endswith("died of SIGABRT: a codec crashed")
    assert run_isolated(partial(sleep, 600), str, limit_seconds=0.5, late_reason="a disk hangs").endswith(
        "a disk hangs"
    )


def test_a_hang_ends_after_a_time() -> None:
    assert run_isolated(partial(sleep, 600), str, limit_seconds=1) == "no answer within 1 s: the driver hangs"


def test_a_script_without_a_guard_begins_once(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["begun", "4"]
