"""Every output frame is the source frame that its rule says, in exact arithmetic, at any rational rate."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.engine.errors import CannotUpsample, RecipeError
from millrace.engine.fps import parse_fps
from millrace.engine.planning.resample import (
    RESAMPLERS,
    frame_indices,
    linspace_indices,
    nearest_indices,
    resample_actions,
)

RATES = st.one_of(
    st.sampled_from([Fraction(50), Fraction(30), Fraction(20), Fraction(30000, 1001), Fraction(60000, 1001)]),
    st.fractions(min_value=Fraction(1, 2), max_value=240, max_denominator=1001),
)
RATE_PAIRS = st.tuples(RATES, RATES).map(lambda rates: (max(rates), min(rates)))


def slow_nearest(num_frames: int, *, source_fps: Fraction, target_fps: Fraction) -> list[int]:
    """The rule, word by word: of all source frames the nearest to k / target, ties to the even one."""
    chosen, k = [], 0
    while k / target_fps <= (num_frames - 1) / source_fps:
        due = k / target_fps * source_fps
        chosen.append(min(range(num_frames), key=lambda frame: (abs(frame - due), frame % 2)))
        k += 1
    return chosen


@given(num_frames=st.integers(1, 120), rates=RATE_PAIRS)
def test_nearest_is_the_nearest_frame_and_ties_are_even(num_frames: int, rates: tuple[Fraction, Fraction]) -> None:
    source_fps, target_fps = rates
    expected = slow_nearest(num_frames, source_fps=source_fps, target_fps=target_fps)
    assert nearest_indices(num_frames, source_fps=source_fps, target_fps=target_fps).tolist() == expected


@given(num_frames=st.integers(1, 5000), rates=RATE_PAIRS)
def test_nearest_is_never_more_than_half_a_source_frame_off(num_frames: int, rates: tuple[Fraction, Fraction]) -> None:
    source_fps, target_fps = rates
    chosen = nearest_indices(num_frames, source_fps=source_fps, target_fps=target_fps).tolist()
    assert all(abs(frame - k * source_fps / target_fps) <= Fraction(1, 2) for k, frame in enumerate(chosen))
    assert len(chosen) == (num_frames - 1) * target_fps // source_fps + 1
    assert 0 == chosen[0] <= chosen[-1] < num_frames


@pytest.mark.parametrize("resampler", RESAMPLERS)
@given(num_frames=st.integers(1, 400), rates=RATE_PAIRS)
def test_no_frame_is_shown_twice(resampler: Any, num_frames: int, rates: tuple[Fraction, Fraction]) -> None:
    source_fps, target_fps = rates
    chosen = frame_indices(num_frames, source_fps=source_fps, target_fps=target_fps, resampler=resampler)
    assert np.all(np.diff(chosen) > 0)


@pytest.mark.parametrize("resampler", RESAMPLERS)
@given(num_frames=st.integers(1, 400), fps=RATES)
def test_the_same_rate_keeps_every_frame(resampler: Any, num_frames: int, fps: Fraction) -> None:
    chosen = frame_indices(num_frames, source_fps=fps, target_fps=fps, resampler=resampler)
    assert chosen.tolist() == list(range(num_frames))


@pytest.mark.parametrize(
    ("source_fps", "target_fps", "first"),
    [
        (Fraction(50), Fraction(20), [0, 2, 5, 8, 10, 12, 15]),
        (Fraction(30), Fraction(20), [0, 2, 3, 4, 6, 8, 9]),
        (Fraction(30000, 1001), Fraction(15000, 1001), [0, 2, 4, 6, 8, 10, 12]),
        (Fraction(30000, 1001), Fraction(20), [0, 1, 3, 4, 6, 7, 9]),
    ],
)
def test_nearest_at_the_usual_rates(source_fps: Fraction, target_fps: Fraction, first: list[int]) -> None:
    assert nearest_indices(100, source_fps=source_fps, target_fps=target_fps)[:7].tolist() == first


def test_nearest_stays_exact_over_days() -> None:
    num_frames, source_fps, target_fps = 10_000_000, Fraction(60000, 1001), Fraction(30)
    k = 4_999_000
    due = k * source_fps / target_fps
    assert abs(nearest_indices(num_frames, source_fps=source_fps, target_fps=target_fps)[k] - due) <= Fraction(1, 2)


def test_linspace_equals_the_guide_to_the_index() -> None:
    for num_frames in range(1, 1001):
        # The ALOHA guide, step 2.4, from 50 to 20 Hz.
        guide = np.linspace(0, num_frames - 1, int(num_frames * 20 / 50)).astype(int)
        np.testing.assert_array_equal(
            linspace_indices(num_frames, source_fps=Fraction(50), target_fps=Fraction(20)), guide
        )


@given(num_frames=st.integers(1, 2000), rates=st.tuples(st.integers(1, 120), st.integers(1, 120)))
def test_linspace_is_the_guides_formula_at_other_rates(num_frames: int, rates: tuple[int, int]) -> None:
    source_fps, target_fps = max(rates), min(rates)
    guide = np.linspace(0, num_frames - 1, int(num_frames * target_fps / source_fps)).astype(int)
    ours = linspace_indices(num_frames, source_fps=Fraction(source_fps), target_fps=Fraction(target_fps))
    np.testing.assert_array_equal(ours, guide)


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_upsampling_is_an_error_that_names_both_rates(resampler: Any) -> None:
    with pytest.raises(CannotUpsample, match=r"60 Hz from 50 Hz.*fps='source'"):
        frame_indices(10, source_fps=Fraction(50), target_fps=Fraction(60), resampler=resampler)


def test_barely_upsampling_is_an_error_too() -> None:
    with pytest.raises(CannotUpsample):
        frame_indices(10, source_fps=Fraction(30000, 1001), target_fps=Fraction(30))


def test_unknown_resampler_lists_those_that_exist() -> None:
    with pytest.raises(RecipeError, match=r"'cubic' is not a resampler\. Known: nearest, linspace"):
        frame_indices(10, source_fps=Fraction(50), target_fps=Fraction(20), resampler="cubic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "fps"),
    [
        (20, Fraction(20)),
        (20.0, Fraction(20)),
        ("20", Fraction(20)),
        (12.5, Fraction(25, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (29.97002997, Fraction(30000, 1001)),
        (59.94005994, Fraction(60000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_rates_are_read_exactly(value: object, fps: Fraction) -> None:
    assert parse_fps(value) == fps


@given(fps=st.fractions(min_value=Fraction(1, 100), max_value=1000, max_denominator=1_000_000))
def test_a_rate_written_as_a_fraction_is_never_rounded(fps: Fraction) -> None:
    assert parse_fps(f"{fps.numerator}/{fps.denominator}") == fps


@pytest.mark.parametrize(
    "value",
    [0, -20, "0", "1/0", "fast", "", "nan", "inf", float("nan"), float("inf"), True, None, [20], "1e9"],
)
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        parse_fps(value)


def test_the_sum_of_deltas_is_kept_at_any_rate() -> None:
    steps = np.random.default_rng(0).normal(size=(401, 2)).astype(np.float32)
    for target in (20, 10, 50, 17):
        frames = frame_indices(401, source_fps=Fraction(50), target_fps=Fraction(target))
        kept = resample_actions(steps, frames, ("delta", "delta"))
        assert kept.shape == (len(frames), 2)
        np.testing.assert_allclose(kept.astype(np.float64).sum(axis=0), steps.astype(np.float64).sum(axis=0), atol=1e-4)


def test_each_kind_of_action_is_resampled_in_its_own_way() -> None:
    action = np.arange(10, dtype=np.float32)[:, np.newaxis] * np.array([1, 10, 100], np.float32)
    kept = resample_actions(action, np.array([0, 2, 5]), ("target", "delta", "velocity"))
    np.testing.assert_array_equal(kept, [[0, 10, 50], [2, 90, 300], [5, 350, 700]])
    np.testing.assert_array_equal(action[0], [0, 0, 0])
    same = resample_actions(action, np.arange(10), ("target", "delta", "velocity"))
    np.testing.assert_array_equal(same, action)
