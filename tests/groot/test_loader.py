"""Our loader gives GR00T's samples, shard for shard, bit for bit, pixel for pixel, up to its collator's batches."""

import gc
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

import torch
from foreign_datasets import FLAVOURS, HORIZON, LENGTHS, TAG, modality_configs, write_foreign
from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from loader_samples import (
    Written,
    assert_same_batch,
    assert_same_sample,
    both,
    make_processor,
    mix,
    seed_all,
    shards_and_draws,
    wrap_collator,
)
from torch.utils.data import DataLoader

from conftest import data_path, video_path
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.training_dataset import TrainingDataError

BATCH = 7
AUGMENTED = {"random_rotation_angle": 8, "color_jitter_params": {"brightness": 0.3, "contrast": 0.4, "hue": 0.1}}


@pytest.fixture(scope="module", params=FLAVOURS.values(), ids=FLAVOURS)
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    root = tmp_path_factory.mktemp("foreign") / "dataset"
    write_foreign(root, request.param)
    return Written(root, request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """One flavour; not to be changed."""
    flavour = FLAVOURS["h264-b-frames-task-drawn"]
    root = tmp_path_factory.mktemp("plain") / "dataset"
    write_foreign(root, flavour)
    return Written(root, flavour)


@pytest.mark.parametrize("is_training", [False, True], ids=["evaluation", "training"])
def test_every_shard_is_gr00ts_shard(dataset: Written, is_training: bool) -> None:
    """Padded where there is a history, and one mode is enough for that."""
    processor = make_processor(dataset.flavour)
    stock, ours = both(dataset, processor, allow_padding=is_training and len(dataset.flavour.video_deltas) > 1)
    processor.train() if is_training else processor.eval()
    (expected, drawn), (found, drawn_by_us) = shards_and_draws(stock), shards_and_draws(ours)
    collator = wrap_collator(processor)
    assert sum(map(len, found)) == sum(max(0, length - HORIZON + 1) for length in LENGTHS)
    for shard, other in zip(expected, found, strict=True):
        for sample, ours_of_it in zip(shard, other, strict=True):
            assert_same_sample(sample, ours_of_it)
        for start in range(0, len(shard), BATCH):
            batch = slice(start, start + BATCH)
            assert_same_batch(processor.collator(shard[batch]), collator(other[batch]))
    assert drawn == drawn_by_us, "the same random numbers were used"


SETTINGS = {
    "augmented": AUGMENTED,
    "torchvision": {"use_albumentations": False, "image_crop_size": [52, 52], "image_target_size": [56, 56]},
    "percentiles": {"use_percentiles": True},
    "unclipped": {"clip_outliers": False},
    "absolute": {"use_relative_action": False},
    "no-sincos": {"apply_sincos_state_encoding": False},
    "language-as-it-is": {"formalize_language": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_of_the_processor_gives_the_same(plain: Written, settings: dict[str, Any]) -> None:
    """Among the tasks one names a picture itself, which GR00T leaves in where it does not formalise language."""
    processor = make_processor(plain.flavour, **settings)
    stock, ours = both(plain, processor)
    collator = wrap_collator(processor)
    for number in range(len(stock)):
        seed_all()
        expected = stock.get_shard(number)
        seed_all()
        found = ours.get_shard(number)
        for sample, other in zip(expected, found, strict=True):
            assert_same_sample(sample, other)
        assert_same_batch(processor.collator(expected), collator(found))


def test_a_processor_of_the_users_own_is_asked_step_by_step(plain: Written) -> None:
    own = make_processor(plain.flavour)
    own.__class__ = type("OwnProcessor", (type(own),), {})  # a user's own: nothing about it may be assumed
    with pytest.warns(UserWarning, match="OwnProcessor is not GR00T's processor and takes steps alone"):
        datasets = both(plain, own)
    (expected, drawn), (found, drawn_by_us) = map(shards_and_draws, datasets)
    collator = wrap_collator(own)
    for shard, other in zip(expected, found, strict=True):
        for sample, ours_of_it in zip(shard, other, strict=True):
            assert_same_sample(sample, ours_of_it)
        assert_same_batch(own.collator(shard), collator(other))
    assert drawn == drawn_by_us


def test_cached_text_and_pictures_of_several_sizes_collate_alike(plain: Written) -> None:
    """The second time round, texts come from the cache; samples of two datasets may differ in size."""
    small, large = (make_processor(plain.flavour, shortest_image_edge=edge) for edge in (64, 112))
    collator = wrap_collator(small)
    expected, found = [], []
    for processor in (small, large):
        processor.eval()
        for dataset, samples in zip(both(plain, processor), (expected, found), strict=True):
            seed_all()
            samples += dataset.get_shard(0)
    for part in (slice(0, 9), slice(0, 9), slice(None)):
        assert_same_batch(small.collator(expected[part]), collator(found[part]))


def test_samples_of_gr00ts_loader_and_ours_share_a_batch(plain: Written) -> None:
    """As of two datasets of which one has masks."""
    processor = make_processor(plain.flavour)
    processor.eval()
    stock, ours = both(plain, processor)
    expected, found = stock.get_shard(0), ours.get_shard(0)
    mixed = [sample for pair in zip(expected[:6:2], found[1:6:2], strict=True) for sample in pair]
    assert_same_batch(processor.collator(expected[:6]), wrap_collator(processor)(mixed))


def batches(mixture: ShardedMixtureDataset, collator: Any, start: str, count: int) -> Iterator[Any]:
    """Out of two worker processes; a worker that hangs ends the test."""
    torch.manual_seed(11)
    loader = DataLoader(
        mixture,
        batch_size=BATCH,
        num_workers=2,
        collate_fn=collator,
        multiprocessing_context=start,
        timeout=300,
    )
    return (batch for _, batch in zip(range(count), loader, strict=False))


def test_workers_started_in_any_way_give_gr00ts_batches_and_leave_nothing_behind(plain: Written) -> None:
    processor = make_processor(plain.flavour)
    expected = list(batches(mix(ShardedSingleStepDataset, plain, processor), processor.collator, "fork", 8))
    for start in ("fork", "forkserver", "spawn"):
        ours = mix(SparseShardedDataset, plain, processor)
        ours.datasets[0].get_shard(0)  # what this process has opened must not hinder its children
        before = num_shared_tensors()
        for batch, found in zip(expected, batches(ours, wrap_collator(processor), start, 8), strict=True):
            assert_same_batch(batch, found)
        del batch, found
        gc.collect()
        assert not multiprocessing.active_children(), start
        assert num_shared_tensors() <= before, start


def num_shared_tensors() -> int:
    """What workers handed over and this process still holds; pipes to the forkserver rightly stay."""
    files = (Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sum("/torch_" in str(file.readlink()) for file in files if file.is_symlink())


def num_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_read_dataset_pickles_without_its_pictures(plain: Written) -> None:
    _, ours = both(plain, make_processor(plain.flavour))
    before = len(pickle.dumps(ours))
    open_files = num_open_files()
    for number in range(len(ours)):
        ours.get_shard(number)
    assert num_open_files() == open_files
    assert len(pickle.dumps(ours)) < before + 4096, "only the readings and a few texts were learnt"


def test_samples_take_less_memory_than_gr00ts(plain: Written) -> None:
    """PIL keeps four bytes a pixel; a mask of float64 for every sample is as large as a third of a picture."""
    _, ours = both(plain, make_processor(plain.flavour))
    shard = ours.get_shard(0)
    images = [image for sample in shard for image in sample["vlm_content"]["images"]]
    assert all(image.dtype == np.uint8 and image.shape == (64, 64, 3) for image in images)
    assert len({sample["action_mask"].data_ptr() for sample in shard}) < len(shard)


@pytest.fixture
def broken(plain: Written, tmp_path: Path) -> Written:
    """A copy to be broken."""
    return Written(Path(shutil.copytree(plain.root, tmp_path / "broken")), plain.flavour)


def first_episode(dataset: Any) -> int:
    return int(dataset.sharded_episodes[0][0][0])


def test_a_missing_video_is_named(broken: Written) -> None:
    _, ours = both(broken, make_processor(broken.flavour))
    episode = first_episode(ours)
    path = video_path(broken.root, episode, "cam_wrist", chunk=episode // 2)
    path.unlink()
    with pytest.raises(TrainingDataError) as raised:
        ours.get_shard(0)
    assert str(raised.value) == f"{broken.root}, episode {episode}: camera wrist: no video at {path}"


def test_missing_rows_are_named(broken: Written) -> None:
    _, ours = both(broken, make_processor(broken.flavour))
    episode = first_episode(ours)
    path = data_path(broken.root, episode, chunk=episode // 2)
    path.unlink()
    with pytest.raises(TrainingDataError) as raised:
        ours.get_shard(0)
    assert str(raised.value) == f"{broken.root}, episode {episode}: no rows at {path}"


def test_a_workers_error_arrives_with_its_name(broken: Written) -> None:
    processor = make_processor(broken.flavour)
    ours = mix(SparseShardedDataset, broken, processor)
    shutil.rmtree(broken.root / "videos")
    with pytest.raises(TrainingDataError, match=r"episode \d: camera wrist: no video at"):
        next(batches(ours, wrap_collator(processor), "fork", 1))


def test_a_dataset_without_modality_json_is_no_dataset(plain: Written, tmp_path: Path) -> None:
    shutil.copytree(plain.root / "meta", tmp_path / "meta", ignore=shutil.ignore_patterns("modality.json"))
    with pytest.raises(TrainingDataError, match=r"meta/modality\.json"):
        SparseShardedDataset(tmp_path, TAG, modality_configs(plain.flavour))
