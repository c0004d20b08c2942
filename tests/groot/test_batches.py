"""Out of loader processes, epoch after epoch, the model gets GR00T's batches bit for bit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

import torch
from foreign_datasets import TAG, Flavour, modality_configs, write_foreign
from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from loader_samples import SHARDING, assert_same_batch, make_processor
from torch.utils.data import DataLoader

from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.groot.n1d6.collator import CachingCollator
from millrace.train.image_batch import ImageBatch
from support.synthetic import SyntheticVideo

LENGTHS = (41, 23, 30, 26)
BATCH, NUM_BATCHES, NUM_LOADERS = 7, 24, 2
SHARDS_AN_EPOCH = 6  # about three a loader, so that the batches come from several epochs
AUGMENTED = {
    "random_rotation_angle": 8,
    "color_jitter_params": {"brightness": 0.3, "contrast": 0.4, "saturation": 0.5, "hue": 0.1},
}
SQUARE = SyntheticVideo("libx264", gop=10, height=64, width=64)
WIDE = SyntheticVideo("libx264", gop=10, height=48, width=80)
LARGE = SyntheticVideo("libx264", gop=10, height=112, width=96)
EVERY_FIFTH = (0, 5, 10, 15, 20)


@dataclass(frozen=True)
class Case:
    """Datasets that differ in their videos, and how they are read."""

    videos: tuple[SyntheticVideo, ...]
    weights: tuple[float, ...] = (1.0,)
    deltas: dict[str, tuple[int, ...]] = field(default_factory=dict)
    processor: dict[str, Any] = field(default_factory=dict)
    sharding: dict[str, Any] = field(default_factory=dict)


PADDED = {"allow_padding": True}
HISTORY = {"video_deltas": (-20, -10, 0), "state_deltas": (-20, -10, 0)}
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
    flavours = [Flavour(video, language="task", **case.deltas) for video in case.videos]
    for number, flavour in enumerate(flavours):
        write_foreign(tmp_path / str(number), flavour, LENGTHS[number:])
    stock = load(ShardedSingleStepDataset, case, flavours[0], tmp_path)
    ours = load(SparseShardedDataset, case, flavours[0], tmp_path)
    num_compared = 0
    for expected, found in zip(stock, ours, strict=True):
        assert isinstance(found["inputs"]["pixel_values"], ImageBatch), "the images are still to be finished"
        assert_same_batch(expected, found)
        num_compared += 1
    assert num_compared == NUM_BATCHES


def load(kind: Any, case: Case, flavour: Flavour, folder: Path) -> Any:
    """Batches of the datasets' mixture out of loader processes."""
    config = modality_configs(flavour)
    datasets = [
        kind(folder / str(number), TAG, config, **{**SHARDING, **case.sharding}) for number in range(len(case.videos))
    ]
    processor = make_processor(flavour, **case.processor)
    mixture = ShardedMixtureDataset(datasets, list(case.weights), processor, num_shards_per_epoch=SHARDS_AN_EPOCH)
    ours = kind is SparseShardedDataset
    collator = CachingCollator(processor.collator) if ours else processor.collator
    torch.manual_seed(11)
    loader = DataLoader(
        mixture,
        batch_size=BATCH,
        num_workers=NUM_LOADERS,
        collate_fn=collator,
        multiprocessing_context="fork",
        timeout=300,
    )
    return (batch for _, batch in zip(range(NUM_BATCHES), loader, strict=False))
