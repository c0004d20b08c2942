"""A reader that has seen enough, such as `head`, ends a command without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.commands.pipe import EXIT_UNREAD


@pytest.mark.parametrize("command", [["maps"], ["validate", "DATASET"]])
def test_a_closed_pipe_is_no_error(command: list[str], aloha: Path) -> None:
    """Printed by rich, and by print."""
    words = [str(aloha) if word == "DATASET" else word for word in command]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "millrace", *words], stdout=pipe, stderr=subprocess.PIPE, cwd=REPOSITORY
        )
    assert (done.returncode, done.stderr) == (EXIT_UNREAD, b"")
