"""GR00T's sharded dataset and ours on the same files, and what it means that their samples are the same."""

import random
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign_datasets import TAG, Flavour, modality_configs
from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
from gr00t.data.interfaces import ShardedDataset

from benchmarks.groot_processors import make_processor as make_released_processor
from millrace.train.groot.adapter import installed_adapter
from millrace.train.groot.loader import SparseShardedDataset
from millrace.train.image_batch import Finisher, ImageBatch
from millrace.train.installed import require_groot

IMAGE_AUGMENTATIONS: Any = import_module(f"gr00t.model.gr00t_{require_groot().package}.image_augmentations")
SHARDING = {"shard_size": 23, "episode_sampling_rate": 0.25, "seed": 3}


@dataclass(frozen=True)
class Written:
    """A dataset on disk."""

    root: Path
    flavour: Flavour


def make_processor(flavour: Flavour, **settings: Any) -> Any:
    """The installed release's, with the limits of the released checkpoint and smaller images."""
    defaults = {"shortest_image_edge": 64, "crop_fraction": 0.95, "apply_sincos_state_encoding": True}
    return make_released_processor({TAG.value: modality_configs(flavour)}, **{**defaults, **settings})


def wrap_collator(processor: Any) -> Any:
    """Our collator around that of GR00T's processor."""
    return installed_adapter().wrap_collator(processor.collator)


def mix(kind: type[ShardedDataset], written: Written, processor: Any, **settings: Any) -> ShardedMixtureDataset:
    """GR00T's mixture of the dataset alone; it hands statistics to the processor and the processor to the dataset."""
    config = modality_configs(written.flavour)
    shards = kind(written.root, TAG, config, **{**SHARDING, **settings})
    return ShardedMixtureDataset([shards], [1.0], processor, num_shards_per_epoch=40)


def both(written: Written, processor: Any, **settings: Any) -> tuple[Any, Any]:
    """GR00T's sharded dataset and ours."""
    kinds = (ShardedSingleStepDataset, SparseShardedDataset)
    stock, ours = (mix(kind, written, processor, **settings).datasets[0] for kind in kinds)
    assert [len(stock), *stock.shard_lengths] == [len(ours), *ours.shard_lengths]
    return stock, ours


def seed_all() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)


def shards_and_draws(dataset: Any) -> tuple[list[list[dict[str, Any]]], list[Any]]:
    """Every shard, and the next number of each generator after them."""
    seed_all()
    shards = [dataset.get_shard(number) for number in range(len(dataset))]
    return shards, [random.random(), np.random.random(), torch.rand(1).item()]


def assert_same_sample(expected: dict[str, Any], found: dict[str, Any]) -> None:
    assert expected.keys() == found.keys()
    for key in expected.keys() - {"vlm_content"}:
        assert_same(expected[key], found[key], key)
    expected, found = expected["vlm_content"], found["vlm_content"]
    assert expected["text"] == found["text"]
    for image, other in zip(expected["images"], found["images"], strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(other)), "pixels differ"


def assert_same(expected: Any, found: Any, key: str) -> None:
    """Equal bit for bit and of one type."""
    assert isinstance(found, list if isinstance(expected, list) else type(expected)), key
    if isinstance(expected, torch.Tensor):
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape), key
        assert torch.equal(expected.contiguous().view(torch.uint8), found.contiguous().view(torch.uint8)), key
    elif isinstance(expected, list):
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other, key)
    else:
        assert expected == found, key


def assert_same_batch(expected: Any, found: Any) -> None:
    """Equal when its images are finished, as the process that trains does it."""
    expected, found = expected["inputs"], dict(found["inputs"])
    assert expected.keys() == found.keys()
    if isinstance(images := found["pixel_values"], ImageBatch):
        found["pixel_values"] = Finisher(torch.device("cpu"))(images)
    for key in expected:
        assert_same(expected[key], found[key], key)
