"""Out of loader processes, epoch after epoch, the model gets GR00T's batches bit for bit."""

from pathlib import Path

import pytest

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from batch_cases import AUGMENTED, EVERY_FIFTH, HISTORY, LARGE, PADDED, SQUARE, WIDE, Case, compare_batches

CASES = {
    "square": Case((SQUARE,)),
    "square, augmented": Case((SQUARE,), processor=AUGMENTED),
    "square, whole patches": Case((LARGE,), processor={"shortest_image_edge": 112}),
    "wide, enlarged": Case((WIDE,), processor={"shortest_image_edge": 100, "crop_fraction": 0.7}),
    "history from the episode's end": Case((SQUARE,), deltas=HISTORY),
    "history padded, augmented": Case((WIDE,), deltas=HISTORY, processor=AUGMENTED, sharding=PADDED),
    "steps ahead": Case((SQUARE,), deltas={"video_deltas": EVERY_FIFTH, "action_deltas": EVERY_FIFTH}),
    "steps ahead, padded": Case((LARGE,), deltas={"video_deltas": EVERY_FIFTH}, sharding=PADDED),
    "mixture, augmented": Case((SQUARE, WIDE), weights=(0.7, 0.3), processor=AUGMENTED),
    "mixture of three with a history": Case((SQUARE, WIDE, LARGE), weights=(0.5, 0.3, 0.2), deltas=HISTORY),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_are_gr00ts(case: Case, tmp_path: Path) -> None:
    compare_batches(case, tmp_path)
