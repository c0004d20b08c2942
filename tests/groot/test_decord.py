"""GR00T's other video decoder, which it falls back to and users choose, on what Millrace writes."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")
pytest.importorskip("decord", reason="NOT TESTED: decord is not installed")

from foreign_datasets import FLAVOURS, write_foreign
from gr00t.utils.video_utils import get_frames_by_indices
from loader_samples import Written, assert_same_sample, both, make_processor, shards_and_draws

from conftest import video_path


def test_decord_reads_the_frames_of_our_videos_as_torchcodec_does(aloha_gr1: Path) -> None:
    path = str(video_path(aloha_gr1, 0, "ego_view"))
    wanted = np.array([0, 1, 7, 15])
    by_decord, by_torchcodec = (get_frames_by_indices(path, wanted, name) for name in ("decord", "torchcodec"))
    assert by_decord.shape[0] == len(wanted)
    np.testing.assert_array_equal(by_decord, by_torchcodec)


def test_our_loader_gives_gr00ts_samples_by_decord(tmp_path: Path) -> None:
    flavour = FLAVOURS["h264-b-frames-task-drawn"]
    write_foreign(tmp_path / "dataset", flavour)
    written = Written(tmp_path / "dataset", flavour)
    stock, ours = both(written, make_processor(flavour), video_backend="decord")
    (expected, _), (found, _) = shards_and_draws(stock), shards_and_draws(ours)
    for shard, other in zip(expected, found, strict=True):
        for sample, ours_of_it in zip(shard, other, strict=True):
            assert_same_sample(sample, ours_of_it)
