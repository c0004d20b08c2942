"""Each output action is the recorded one that its rule says, in exact arithmetic, at any rational rate."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.engine.errors import CannotUpsample, RecipeError
from millrace.engine.planning.action_rule import ACTION_RULES, action_indices
from millrace.engine.planning.resample import RESAMPLERS, frame_indices, resample_actions

RATES = st.one_of(
    st.sampled_from([Fraction(50), Fraction(30), Fraction(20), Fraction(30000, 1001), Fraction(60000, 1001)]),
    st.fractions(min_value=Fraction(1, 2), max_value=240, max_denominator=1001),
)
RATE_PAIRS = st.tuples(RATES, RATES).map(lambda rates: (max(rates), min(rates)))
HELD = ("mid_interval", "end_of_interval")
# The source frame in force at the end of a stretch of time, and just before it, in source frames.
SLOWLY: dict[str, Callable[[int, Fraction], int]] = {
    "mid_interval": lambda k, step: floor((k + Fraction(1, 2)) * step),
    "end_of_interval": lambda k, step: ceil((k + 1) * step) - 1,
}


def indices(num_frames: int, source: Fraction, target: Fraction, rule: Any, resampler: Any = "nearest") -> list[int]:
    found = action_indices(num_frames, source_fps=source, target_fps=target, resampler=resampler, rule=rule)
    assert found.dtype == np.int64
    return found.tolist()


@pytest.mark.parametrize("rule", HELD)
@given(num_frames=st.integers(1, 3000), rates=RATE_PAIRS)
def test_each_action_is_the_one_in_force_at_its_instant(
    rule: str, num_frames: int, rates: tuple[Fraction, Fraction]
) -> None:
    source, target = rates
    found = indices(num_frames, source, target, rule)
    assert found == [min(SLOWLY[rule](k, source / target), num_frames - 1) for k in range(len(found))]


@pytest.mark.parametrize("resampler", RESAMPLERS)
@given(num_frames=st.integers(1, 400), rates=RATE_PAIRS)
def test_there_is_an_action_for_each_frame_and_none_twice(
    resampler: Any, num_frames: int, rates: tuple[Fraction, Fraction]
) -> None:
    frames = frame_indices(num_frames, source_fps=rates[0], target_fps=rates[1], resampler=resampler).tolist()
    at_frame, middle, end = (indices(num_frames, *rates, rule, resampler) for rule in ACTION_RULES)
    assert at_frame == frames
    for found in (middle, end):
        assert len(found) == len(frames)
        assert all(np.diff(found) > 0)
        assert all(0 <= index < num_frames for index in found)
    assert all(first <= second <= third for first, second, third in zip(frames, middle, end, strict=True))


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("rule", ACTION_RULES)
@given(num_frames=st.integers(1, 400), fps=RATES)
def test_at_the_same_rate_each_frame_keeps_its_own_action(
    rule: str, resampler: Any, num_frames: int, fps: Fraction
) -> None:
    assert indices(num_frames, fps, fps, rule, resampler) == list(range(num_frames))


def test_the_usual_rates() -> None:
    assert indices(100, Fraction(50), Fraction(20), "mid_interval")[:7] == [1, 3, 6, 8, 11, 13, 16]
    assert indices(100, Fraction(50), Fraction(20), "end_of_interval")[:7] == [2, 4, 7, 9, 12, 14, 17]
    assert indices(100, Fraction(50), Fraction(10), "mid_interval")[:4] == [2, 7, 12, 17]
    assert indices(100, Fraction(30), Fraction(20), "mid_interval")[:6] == [0, 2, 3, 5, 6, 8]


def test_the_last_recorded_action_is_in_force_until_the_end() -> None:
    # Frame 5 is due at 5.0 and held until 7.5, but the recording ends with frame 5.
    for rule in HELD:
        assert indices(6, Fraction(50), Fraction(20), rule)[-1] == 5
    assert indices(1, Fraction(50), Fraction(20), "mid_interval") == [0]


def test_instants_stay_exact_over_days() -> None:
    source, target, k = Fraction(60000, 1001), Fraction(30), 4_999_000
    found = action_indices(10_000_000, source_fps=source, target_fps=target, rule="mid_interval")
    assert found[k] == floor((k + Fraction(1, 2)) * source / target)


def test_a_rate_of_huge_parts_is_exact_too() -> None:
    source, target = Fraction(10**19 + 1, 10**18), Fraction(5)
    assert indices(40, source, target, "end_of_interval") == [
        min(ceil((k + 1) * source / target) - 1, 39) for k in range(20)
    ]


def test_targets_are_taken_where_the_rule_says_and_steps_stand_for_their_interval() -> None:
    action = np.arange(10, dtype=np.float32)[:, np.newaxis] * np.array([1, 10, 100], np.float32)
    frames, held = np.array([0, 2, 5]), np.array([1, 3, 6])
    kept = resample_actions(action, frames, ("target", "delta", "velocity"), held=held)
    np.testing.assert_array_equal(kept, [[1, 10, 50], [3, 90, 300], [6, 350, 700]])


def test_wrong_rules_and_rates_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"'start' is not a rule for actions\. Known: at_frame, mid_interval"):
        indices(10, Fraction(50), Fraction(20), "start")
    with pytest.raises(CannotUpsample):
        indices(10, Fraction(50), Fraction(60), "mid_interval")
