"""Action chunks at a model's rate become those at a controller's: interpolated, held, or spread."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millrace.train.control_rate import blend_chunks, count_ticks, resample_chunk

RATES = st.fractions(min_value=1, max_value=120, max_denominator=1001)
CHUNKS = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20)


def chunk(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)[None, :, None]


def resampled(values: list[float], fps: Fraction, hz: Fraction, kind: str = "target", between: str = "hold") -> list:
    found = resample_chunk(chunk(values), fps=fps, control_hz=hz, kinds=[kind], between=between)
    return found[0, :, 0].tolist()


def test_20_hz_become_50_hz() -> None:
    fps, hz = Fraction(20), Fraction(50)
    assert resampled([0, 1, 3], fps, hz) == [0, 0, 0, 1, 1, 3, 3, 3]
    expected = [0, 0.4, 0.8, 1.4, 2.2, 3, 3, 3]
    np.testing.assert_allclose(resampled([0, 1, 3], fps, hz, between="interpolate"), expected, atol=1e-6)
    assert resampled([1, 2], fps, hz, "velocity", "interpolate") == [1, 1, 1, 2, 2]
    np.testing.assert_allclose(resampled([1, 2], fps, hz, "delta"), [0.4, 0.4, 0.6, 0.8, 0.8], atol=1e-6)


@given(CHUNKS, RATES, RATES)
def test_ticks_cover_the_chunk_and_equal_a_reference(values: list[float], fps: Fraction, hz: Fraction) -> None:
    num_ticks = count_ticks(len(values), fps=fps, control_hz=hz)
    assert (num_ticks - 1) / hz < len(values) / fps <= num_ticks / hz
    times = [Fraction(tick) / hz * fps for tick in range(num_ticks)]
    assert resampled(values, fps, hz) == [values[int(time)] for time in times]
    expected = np.interp([float(time) for time in times], range(len(values)), values)
    np.testing.assert_allclose(resampled(values, fps, hz, between="interpolate"), expected, atol=1e-4)


@given(CHUNKS, RATES, RATES)
def test_deltas_keep_their_sum(values: list[float], fps: Fraction, hz: Fraction) -> None:
    np.testing.assert_allclose(sum(resampled(values, fps, hz, "delta")), sum(values), atol=1e-3)


@given(CHUNKS, RATES)
def test_the_same_rate_changes_nothing(values: list[float], fps: Fraction) -> None:
    for between in ("hold", "interpolate"):
        assert resampled(values, fps, fps, between=between) == values


def test_a_chunk_goes_over_from_what_was_left_of_the_one_before() -> None:
    mixed = blend_chunks(chunk([4, 4, 4, 4]), chunk([0, 0, 0]))
    assert mixed[0, :, 0].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(blend_chunks(chunk([4, 4]), None), chunk([4, 4]))
    assert blend_chunks(chunk([4, 4]), chunk([0, 0, 0])).shape == (1, 2, 1)
