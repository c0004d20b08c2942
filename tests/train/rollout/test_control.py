"""Targets at the robot's rate: the newest that is due, or on the line to the next."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.train.rollout.control import follow_targets

RATES = st.fractions(min_value=Fraction(1), max_value=Fraction(100), max_denominator=7)


def test_targets_at_20_hz_are_held_at_50() -> None:
    targets = np.arange(4.0)[:, np.newaxis]
    followed = follow_targets(targets, fps=Fraction(20), control_fps=Fraction(50), follow="hold")
    assert followed[:, 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


def test_targets_at_20_hz_are_interpolated_at_50_and_the_last_one_stays() -> None:
    targets = np.arange(4.0)[:, np.newaxis]
    followed = follow_targets(targets, fps=Fraction(20), control_fps=Fraction(50), follow="interpolate")
    assert followed[:, 0] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.0, 3.0])


@given(num_targets=st.integers(1, 40), fps=RATES, control_fps=RATES)
def test_each_control_step_has_the_target_of_its_time(num_targets: int, fps: Fraction, control_fps: Fraction) -> None:
    targets = np.arange(num_targets, dtype=np.float64)[:, np.newaxis]
    due = [Fraction(step) * fps / control_fps for step in range(-(-num_targets * control_fps // fps))]
    held = follow_targets(targets, fps=fps, control_fps=control_fps, follow="hold")
    assert held[:, 0].tolist() == [float(int(time)) for time in due]
    line = follow_targets(targets, fps=fps, control_fps=control_fps, follow="interpolate")
    assert line[:, 0] == pytest.approx([float(min(time, num_targets - 1)) for time in due])


@pytest.mark.parametrize("follow", ["hold", "interpolate"])
def test_targets_at_the_robots_own_rate_are_sent_as_they_are(follow: str) -> None:
    targets = np.random.default_rng(0).normal(size=(9, 3))
    same = follow_targets(targets, fps=Fraction(50), control_fps=Fraction(50), follow=follow)  # type: ignore[arg-type]
    assert np.array_equal(same, targets)
