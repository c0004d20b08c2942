"""The benchmark of merging measures a merge that copies everything, and says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lerobot_tools import measure_lerobot
from conftest import REPOSITORY


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks.merge", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_merge_is_many_times_cheaper_than_a_conversion(tmp_path: Path) -> None:
    done = run("--episodes", 2, "--rounds", 1, "--json", tmp_path / "merge.json")
    assert done.returncode == 0, done.stderr
    assert "4 episodes, 640 frames; 1 rounds, medians" in done.stdout
    speeds = json.loads((tmp_path / "merge.json").read_text())["frames_per_cpu_second"]
    assert {name.partition(",")[0] for name in speeds} == {"millrace", "reading all files"}
    # Measured: 48 times on 64 episodes; what is done once weighs more on few.
    assert speeds["millrace, merge in v2.1"] > 5 * speeds["millrace, conversion of the source"]


def test_a_python_without_lerobot_is_told() -> None:
    with pytest.raises(SystemExit, match=r"LeRobot's tool failed:\n(.*\n)*.*No module named 'lerobot'"):
        measure_lerobot(Path(sys.executable), [])
