"""The judge's comparison of camera statistics: four frames pass for a hundred, a wrong number for none."""

import numpy as np
import pytest
from camera_ranks import QUANTILES, Statistics, WrongStatistics, compare_ranks
from numpy.typing import NDArray

NUM_FRAMES, NUM_COUNTED = 100, 4
HEIGHT, WIDTH = 16, 200
DARK, BRIGHT = 60, 220


def make_frames() -> NDArray[np.uint8]:
    """Noise about a ramp, and a bright patch of 11.5 % of the frame that shrinks slowly to 7.5 %: (N, 3, H, W)."""
    random = np.random.default_rng(0)
    ramp = np.linspace(DARK + 10, 150, WIDTH) + random.normal(0, 2, (NUM_FRAMES, 3, HEIGHT, WIDTH))
    frames = np.clip(np.round(ramp), DARK, BRIGHT).astype(np.uint8)
    for frame, share in zip(frames, np.linspace(0.115, 0.075, NUM_FRAMES), strict=True):
        frame[:, :, WIDTH // 2 : WIDTH // 2 + round(share * WIDTH)] = BRIGHT
    return frames


def summarize(frames: NDArray[np.uint8], counted: NDArray[np.int64]) -> Statistics:
    """As conversion counts a clip: every other pixel of some frames."""
    values = frames[counted][:, :, ::2, ::2].transpose(1, 0, 2, 3).reshape(3, -1) / 255
    found = {name: np.quantile(values, rank, axis=1) for name, rank in QUANTILES.items()}
    found |= {"min": values.min(axis=1), "max": values.max(axis=1)}
    nested = {name: numbers.reshape(3, 1, 1) for name, numbers in found.items()}
    return nested | {"count": np.array([len(counted)])}


FRAMES = make_frames()
COUNTED = np.arange(0, NUM_FRAMES, NUM_FRAMES // NUM_COUNTED)
STORED = summarize(FRAMES, COUNTED)


def test_ranks_hold_where_values_differ() -> None:
    due = summarize(FRAMES, np.arange(NUM_FRAMES))
    assert np.abs(STORED["q90"] - due["q90"]).max() > 0.1
    compare_ranks(STORED, FRAMES)


def test_any_number_of_frames_passes_that_is_counted_alike() -> None:
    for num_counted in (1, 2, 3, 7, NUM_FRAMES):
        counted = np.arange(num_counted) * NUM_FRAMES // num_counted
        compare_ranks(summarize(FRAMES, counted), FRAMES)


def test_pixels_that_coding_changed_pass() -> None:
    changed = FRAMES.astype(np.int64) + np.random.default_rng(1).integers(-2, 3, FRAMES.shape)
    compare_ranks(STORED, np.clip(changed, 0, 255).astype(np.uint8))


def test_statistics_without_quantiles_pass() -> None:
    compare_ranks({name: STORED[name] for name in ("min", "max", "count")}, FRAMES)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("q99", 1.0),
        ("q99", 0.6),
        ("q90", 0.5),
        ("q50", 0.4),
        ("q10", 0.25),
        ("q01", 0.5),
        ("q01", 0.0),
        ("min", 0.0),
        ("min", 0.35),
        ("max", 0.6),
        ("max", 0.75),
    ],
)
def test_a_wrong_number_is_refused(name: str, wrong: float) -> None:
    one_channel = STORED[name].copy()
    one_channel[1] = wrong
    with pytest.raises(WrongStatistics, match=f"^{name} "):
        compare_ranks(STORED | {name: one_channel}, FRAMES)
