"""N1.7's batches bit for bit: its treatment of images and states, and what is done where ours would differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gr00t.model.gr00t_n1d7", reason="NOT TESTED: the gr00t that can be imported, if any, is not N1.7")

import torch
from batch_cases import AUGMENTED, EVERY_FIFTH, PADDED, SQUARE, WIDE, Case, compare_batches, remove_letterbox
from foreign_datasets import Flavour, write_foreign
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_samples import (
    Written,
    assert_same,
    assert_same_batch,
    assert_same_sample,
    both,
    make_processor,
    seed_all,
    shards_and_draws,
    wrap_collator,
)
from PIL import Image

from millrace.train.groot.n1d7.processor import BatchProcessor
from millrace.train.image_batch import Finisher, ImageBatch, noise_image
from support.synthetic import SyntheticVideo

RELEASED = {"shortest_image_edge": None, "crop_fraction": None}
DROPPED = {"state_dropout_prob": 0.4, **AUGMENTED}
TORCHVISION = {"use_albumentations": False, "image_crop_size": [92, 92], "image_target_size": [100, 100]}
LAST_SECOND = {"video_deltas": (-15, 0), "state_deltas": (-15, 0)}
VGA = SyntheticVideo("libx264", gop=10, height=480, width=640)
QUARTER_HD = SyntheticVideo("libx264", gop=10, height=180, width=320)
SHORT = {"lengths": (12, 15), "num_batches": 4}  # of large images
CASES = {
    "as released": Case((SQUARE,), processor=RELEASED, num_batches=6),
    "480x640, as released": Case((VGA,), processor=RELEASED, **SHORT),
    "320x180, edge": Case((QUARTER_HD,), processor={"crop_fraction": 0.9}, **SHORT),
    "480x640, shape kept": Case(
        (VGA,), processor={"shortest_image_edge": 256, **AUGMENTED}, is_letterboxed=False, **SHORT
    ),
    "320x180, shape kept": Case((QUARTER_HD,), deltas=LAST_SECOND, is_letterboxed=False, sharding=PADDED, **SHORT),
    "states dropped": Case((SQUARE,), processor=DROPPED),
    "states dropped, a history": Case((SQUARE,), deltas=LAST_SECOND, processor=DROPPED, num_batches=12),
    "no states": Case((SQUARE,), processor={"exclude_state": True}, num_batches=6),
    "torchvision": Case((WIDE,), processor=TORCHVISION, num_batches=12),
    "steps ahead, dropped": Case(
        (SQUARE,), deltas={"video_deltas": EVERY_FIFTH}, processor=DROPPED, sharding=PADDED, num_batches=8
    ),
    "without percentiles": Case((SQUARE,), processor={"use_percentiles": False}, num_batches=6),
    "mixture, dropped": Case((SQUARE, WIDE), weights=(0.6, 0.4), deltas=LAST_SECOND, processor=DROPPED),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A dataset that is not to be changed."""
    root, flavour = tmp_path_factory.mktemp("plain") / "dataset", Flavour(SQUARE, language="task")
    write_foreign(root, flavour)
    return Written(root, flavour)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_are_n1d7s(case: Case, tmp_path: Path) -> None:
    compare_batches(case, tmp_path)


side = st.integers(8, 400)


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(side, side), num_images=st.integers(1, 3))
def test_images_of_every_size_become_qwens_patches(size: tuple[int, int], num_images: int, plain: Written) -> None:
    collator = wrap_collator(make_processor(plain.flavour))
    images = [np.roll(noise_image(*size), number, axis=(0, 1)) for number in range(num_images)]
    expected = collator.processor.image_processor(list(map(Image.fromarray, images)), return_tensors="pt")
    (target,) = collator.candidates(expected)
    found = Finisher(torch.device("cpu"))(ImageBatch.stack(images, target))
    assert_same(expected["pixel_values"], found, "pixel_values")
    assert_same(expected["image_grid_thw"], collator.sizes(target, num_images)["image_grid_thw"], "image_grid_thw")


def first_shard(dataset: Any) -> list[dict[str, Any]]:
    """With the same draws each time."""
    seed_all()
    shard: list[dict[str, Any]] = dataset.get_shard(0)
    return shard


@pytest.mark.parametrize("rule", ["do_normalize", "do_rescale"])
def test_images_of_other_rules_are_left_to_gr00ts_collator(rule: str, plain: Written) -> None:
    processor = make_processor(plain.flavour)
    setattr(processor.collator.processor.image_processor, rule, False)
    processor.eval()
    expected, samples = map(first_shard, both(plain, processor))
    with pytest.warns(UserWarning, match=r"finishes images of \(64, 64, 3\): ours would differ"):
        found = wrap_collator(processor)(samples)
    assert isinstance(found["inputs"]["pixel_values"], torch.Tensor)
    assert_same_batch(processor.collator(expected), found)


def test_images_of_several_shapes_in_a_batch_are_left_to_gr00ts_collator(plain: Written, tmp_path: Path) -> None:
    """Where images keep their shape, two datasets of a mixture may differ in it."""
    wide = Written(tmp_path / "wide", Flavour(WIDE, language="task"))
    write_foreign(wide.root, wide.flavour)
    processor = make_processor(plain.flavour)
    remove_letterbox(processor)
    processor.eval()
    datasets = [both(written, processor) for written in (plain, wide)]
    expected, found = ([first_shard(dataset[place])[:4] for dataset in datasets] for place in (0, 1))
    with pytest.warns(UserWarning, match=r"batches with images of \(\d+, \d+, 3\), \(\d+, \d+, 3\): ours takes"):
        batch = wrap_collator(processor)([*found[0], *found[1]])
    assert_same_batch(processor.collator([*expected[0], *expected[1]]), batch)


@pytest.mark.parametrize("is_training", [False, True], ids=["evaluation", "training"])
def test_states_are_dropped_with_gr00ts_draws(is_training: bool, plain: Written) -> None:
    processor = make_processor(plain.flavour, **DROPPED)
    datasets = both(plain, processor)
    processor.train() if is_training else processor.eval()
    (expected, drawn), (found, drawn_by_us) = map(shards_and_draws, datasets)
    for shard, other in zip(expected, found, strict=True):
        for sample, ours_of_it in zip(shard, other, strict=True):
            assert_same_sample(sample, ours_of_it)
    assert drawn == drawn_by_us
    num_dropped = sum(not sample["state"].any() for shard in found for sample in shard)
    assert (0 < num_dropped < sum(map(len, found))) if is_training else not num_dropped


def test_a_processor_that_does_more_than_ours_takes_steps_one_by_one(
    plain: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a version that was not known here may do."""
    processor = make_processor(plain.flavour)
    usual = type(processor).__call__

    def shift(self: Any, messages: Any) -> Any:
        sample = usual(self, messages)
        return {**sample, "state": sample["state"] + 0.5}

    monkeypatch.setattr(type(processor), "__call__", shift)
    assert BatchProcessor.of(processor) is not None
    stock, ours = both(plain, processor)
    (expected, drawn) = shards_and_draws(stock)
    with pytest.warns(UserWarning, match="new_embodiment: steps are processed one by one, as ours would differ"):
        found, drawn_by_us = shards_and_draws(ours)
    collator = wrap_collator(processor)
    for shard, other in zip(expected, found, strict=True):
        assert_same_batch(processor.collator(shard), collator(other))
    assert drawn == drawn_by_us


def test_shards_dealt_in_another_way_are_gr00ts_too(plain: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a version that was not known here may do it."""
    usual = ShardedSingleStepDataset.shard_dataset

    def deal_backwards(self: Any) -> None:
        usual(self)
        self.sharded_episodes, self.shard_lengths = self.sharded_episodes[::-1], self.shard_lengths[::-1]

    monkeypatch.setattr(ShardedSingleStepDataset, "shard_dataset", deal_backwards)
    with pytest.warns(UserWarning, match="in a way of its own, which needs more memory"):
        datasets = both(plain, make_processor(plain.flavour))
    (expected, drawn), (found, drawn_by_us) = map(shards_and_draws, datasets)
    for shard, other in zip(expected, found, strict=True):
        for sample, ours_of_it in zip(shard, other, strict=True):
            assert_same_sample(sample, ours_of_it)
    assert drawn == drawn_by_us
