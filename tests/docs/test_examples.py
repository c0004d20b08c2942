"""The scripts of examples/ run, and do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace import open_source

EXAMPLES = REPOSITORY / "examples"


def run(script: str, dataset: Path) -> str:
    """What a script prints."""
    words = [sys.executable, str(EXAMPLES / script), str(dataset)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=dataset.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output of convert_one.py, and what it printed."""
    out = tmp_path_factory.mktemp("examples") / "out"
    return out, run("convert_one.py", out)


def test_one_dataset_is_converted_and_valid(converted: tuple[Path, str]) -> None:
    printed = converted[1].splitlines()
    assert printed[:2] == ["source: 2 episodes, 800 frames at 50 Hz", "output: 2 episodes, 320 frames at 20 Hz"]
    assert printed[2].startswith("valid: 2 episodes, 320 frames")


def test_a_converted_dataset_is_read_step_by_step(converted: tuple[Path, str]) -> None:
    printed = run("read_dataset.py", converted[0]).splitlines()
    assert printed[0] == "2 episodes at 20 Hz, cameras: ego_view"
    assert [line.split(":")[0] for line in printed[1:]] == [f"step {k} at {k / 20:.2f} s" for k in range(3)]
    assert "{'ego_view': (256, 256, 3)}" in printed[1]


def test_two_datasets_become_one(tmp_path: Path) -> None:
    assert run("combine_two.py", tmp_path / "out").startswith("2 episodes of 2 sources, 320 frames")
    assert "Hand the cube over." in open_source(tmp_path / "out").tasks.values()


def test_every_script_is_tested() -> None:
    named = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{script.name}"' in named for script in EXAMPLES.glob("*.py"))
