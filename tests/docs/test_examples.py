"""The scripts of examples/ run, and do what they say."""

import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import REPOSITORY
from millrace import load_robot, open_source

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


class Arms:
    """In the simulator's place: joints that are where they were told to go."""

    def __init__(self) -> None:
        self.at = np.arange(14, dtype=np.float32)
        self.steps: list[NDArray[np.float32]] = []

    def reset(self, *, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.at = action
        self.steps.append(action)
        return self._observe(), len(self.steps), False, len(self.steps) == 7, {}

    def _observe(self) -> dict[str, Any]:
        return {"agent_pos": self.at, "pixels": {"top": np.zeros((480, 640, 3), np.uint8)}}


class Counting:
    """In a server's place: each joint moves by 1 at each of three ticks."""

    control_hz = 50.0

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.asked = []

    def act(self, **observation: Any) -> dict[str, NDArray[np.float32]]:
        self.asked.append(observation)
        return {name: np.add(values, [[1], [2], [3]]) for name, values in observation["state"].items()}


def test_the_simulated_aloha_executes_chunk_after_chunk_in_its_own_order() -> None:
    names = runpy.run_path(str(EXAMPLES / "drive_gym_aloha.py"))
    arms, policy = Arms(), Counting()
    assert list(names["drive"](arms, policy, num_steps=100, seed=0)) == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(arms.steps, [np.arange(14) + tick for tick in range(1, 8)])
    assert len(policy.asked) == 3  # a chunk of three ticks, a second one, and one tick of the third
    widths = {name: len(values) for name, values in policy.asked[0]["state"].items()}
    aloha = load_robot("aloha")
    assert widths == {name: len(aloha.groups[name].joints) for name in aloha.groups_of("state")}


def test_the_tiny_model_says_what_it_needs(tmp_path: Path) -> None:
    """tests/groot writes and trains it."""
    if find_spec("gr00t") is not None:
        pytest.skip("needs an environment without GR00T")
    words = [sys.executable, str(EXAMPLES / "tiny_groot.py"), str(tmp_path / "tiny")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("GR00T N1.6 cannot be imported: no gr00t")
    assert not (tmp_path / "tiny").exists()


def test_every_script_is_tested() -> None:
    named = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{script.name}"' in named for script in EXAMPLES.glob("*.py"))
