"""The benchmark of the trainer's input."""

import subprocess
import sys
from importlib.util import find_spec

import pytest


@pytest.mark.skipif(find_spec("gr00t") is not None, reason="gr00t is there")
def test_without_gr00t_it_says_how_to_get_it() -> None:
    benchmark = [sys.executable, "-m", "benchmarks.train_input", "--rounds", "1"]
    done = subprocess.run(benchmark, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "benchmarks/train_input.py: GR00T cannot be imported" in done.stderr
    assert "For N1.6" in done.stderr
    assert "N1.7" in done.stderr
