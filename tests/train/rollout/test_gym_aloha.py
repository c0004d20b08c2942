"""The simulated ALOHA: recordings of a script, converted to GR1 and back, do the task again."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MUJOCO_GL", "off")
pytest.importorskip("gym_aloha", reason="NOT TESTED in a simulator: pip install '.[sim]'")

from benchmarks.replay import CONVERSIONS, FULL_REWARD, Options, measure_replays
from millrace.train.rollout.gym_aloha import GymAloha


def test_every_conversion_does_the_task_as_the_recording_does(tmp_path: Path) -> None:
    found = list(measure_replays(tmp_path, Options(episodes=2)))
    assert [(one.conversion, one.between) for one in found[1:]] == [
        (name, between) for name in list(CONVERSIONS)[1:] for between in ("interpolate", "hold")
    ]
    assert all(one.num_successes == one.held == 2 for one in found)
    recording, interpolated, held = found[:3]
    assert recording.error_rad == pytest.approx(0, abs=1e-6)
    assert interpolated.error_rad < held.error_rad < 0.02


def test_equal_seeds_begin_equally(tmp_path: Path) -> None:
    environment = GymAloha("gym_aloha/AlohaTransferCube-v0", with_images=False)
    first, again = (environment.reset(seed=3).state for _ in range(2))
    assert first.tolist() == again.tolist()
    assert len(first) == 14
    assert environment.step(first).reward < FULL_REWARD
