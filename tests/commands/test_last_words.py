"""A process that is ended from outside has said what to do; one that ends by itself says nothing more."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from millrace.commands.last_words import last_words

with last_words("run it again"):
    exec(sys.argv[1])
print("ended")
"""


def ended_by(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", PROGRAM, program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_a_process_that_is_ended_says_what_to_do(program: str) -> None:
    done = ended_by(program)
    assert done.returncode != 0
    assert done.stderr == "run it again\n"


def test_a_process_that_ends_by_itself_says_nothing_more() -> None:
    done = ended_by("pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
    failed = ended_by("raise SystemExit('an error of its own')")
    assert failed.stderr == "an error of its own\n"
