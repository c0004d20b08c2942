"""Datasets as training mixes them, and the batches that GR00T's loader and ours make of them in loader processes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from foreign_datasets import TAG, Flavour, modality_configs, write_foreign
from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from loader_samples import SHARDING, assert_same_batch, make_processor, wrap_collator
from torch.utils.data import DataLoader

from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.image_batch import ImageBatch
from support.synthetic import SyntheticVideo

LENGTHS = (41, 23, 30, 26)
BATCH, NUM_LOADERS = 7, 2
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
    is_letterboxed: bool = True
    lengths: tuple[int, ...] = LENGTHS
    num_batches: int = 24


PADDED = {"allow_padding": True}
HISTORY = {"video_deltas": (-20, -10, 0), "state_deltas": (-20, -10, 0)}


def compare_batches(case: Case, folder: Path) -> None:
    """Every batch is GR00T's, and its images are still to be finished."""
    flavours = [Flavour(video, language="task", **case.deltas) for video in case.videos]
    for number, flavour in enumerate(flavours):
        write_foreign(folder / str(number), flavour, case.lengths[number:])
    stock = load(ShardedSingleStepDataset, case, flavours[0], folder)
    ours = load(SparseShardedDataset, case, flavours[0], folder)
    num_compared = 0
    for expected, found in zip(stock, ours, strict=True):
        assert isinstance(found["inputs"]["pixel_values"], ImageBatch), "the images are still to be finished"
        assert_same_batch(expected, found)
        num_compared += 1
    assert num_compared == case.num_batches


def load(kind: Any, case: Case, flavour: Flavour, folder: Path) -> Any:
    """Batches of the datasets' mixture out of loader processes."""
    config = modality_configs(flavour)
    datasets = [
        kind(folder / str(number), TAG, config, **{**SHARDING, **case.sharding}) for number in range(len(case.videos))
    ]
    processor = make_processor(flavour, **case.processor)
    if not case.is_letterboxed:
        remove_letterbox(processor)
    mixture = ShardedMixtureDataset(datasets, list(case.weights), processor, num_shards_per_epoch=SHARDS_AN_EPOCH)
    ours = kind is SparseShardedDataset
    collator = wrap_collator(processor) if ours else processor.collator
    torch.manual_seed(11)
    loader = DataLoader(
        mixture,
        batch_size=BATCH,
        num_workers=NUM_LOADERS,
        collate_fn=collator,
        multiprocessing_context="fork",
        timeout=300,
    )
    return (batch for _, batch in zip(range(case.num_batches), loader, strict=False))


def remove_letterbox(processor: Any) -> None:
    """As N1.7 leaves it out since July 2026: images keep their shape."""
    for chain in (processor.train_image_transform, processor.eval_image_transform):
        chain.transforms = [part for part in chain.transforms if type(part).__name__ != "LetterBoxPad"]
