"""One way of feeding the trainer, run through the real DataLoader in a process of its own."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import process_cpu_seconds, process_peak_mb
from millrace.engine.video.decode import open_video
from millrace.engine.video.packets import PacketInfo, PacketUse, plan_packets

LoaderName = Literal["gr00t", "millrace"]
BATCH_SIZE = 32
SAMPLING_RATE = 0.1  # the default: every episode in ten splits


@dataclass(frozen=True)
class Feed:
    """What is measured: a loader on a dataset, in shards of about `shard_size` steps."""

    loader: LoaderName
    dataset: Path
    shard_size: int


@dataclass(frozen=True)
class InputCost:
    """What a sample costs end to end.

    worker_ms, taker_ms: CPU of the loader's process, and of the process that takes its batches as its model would.
    batch_mb: handed over with a batch. frames_decoded: for each one used. peak_mb: resident memory of the worker.
    """

    samples_per_second: float
    worker_ms: float
    taker_ms: float
    batch_mb: float
    frames_decoded: float
    peak_mb: float

    @property
    def cpu_ms(self) -> float:
        """CPU of both processes."""
        return self.worker_ms + self.taker_ms


def run_loader(feed: Feed, num_samples: int) -> InputCost:
    """At least `num_samples` samples, after the first shard, in batches out of one worker."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)  # a second thread would wait for the first, and count as CPU
    shards, mixture, collator = build(feed)
    take = _taker()
    # From the start of one shard to the start of another, so that what is prepared ahead evens out.
    length = int(np.mean(shards.shard_lengths))
    num_batches = -(-num_samples // length) * length // BATCH_SIZE
    with quietly():
        loader = DataLoader(
            mixture, batch_size=BATCH_SIZE, num_workers=1, collate_fn=collator, multiprocessing_context="fork"
        )
        batches = iter(loader)
        for _ in range(1 + length // BATCH_SIZE):
            take(next(batches))
        (worker,) = (child.pid for child in active_children() if child.pid is not None)
        workers, takers, wall = process_cpu_seconds(worker), process_time(), perf_counter()
        for _ in range(num_batches):
            batch = next(batches)
            take(batch)
        workers, takers = process_cpu_seconds(worker) - workers, process_time() - takers
        wall, peak_mb = perf_counter() - wall, process_peak_mb(worker)
        batch_mb = _num_bytes(batch["inputs"]) / 1e6
        del batches
    taken = num_batches * BATCH_SIZE
    costs = (seconds / taken * 1000 for seconds in (workers, takers))
    return InputCost(taken / wall, *costs, batch_mb, frames_decoded(feed.loader, shards), peak_mb)


def _taker() -> Callable[[Any], None]:
    """What the process that trains does with a batch: images are finished, on a GPU where it has one."""
    import torch

    from millrace.train.image_batch import Finisher, ImageBatch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finisher = Finisher(device)

    def take(batch: Any) -> None:
        images = batch["inputs"]["pixel_values"]
        finished = finisher(images) if isinstance(images, ImageBatch) else images
        tensors = [finished] if isinstance(finished, torch.Tensor) else finished
        assert all(image.to(device).dtype == torch.float32 for image in tensors)

    return take


def _num_bytes(value: Any) -> int:
    """Of the tensors in a batch."""
    from torch import Tensor

    from millrace.train.image_batch import ImageBatch

    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, ImageBatch):
        return value.pixels.nbytes
    return sum(map(_num_bytes, value.values() if isinstance(value, dict) else value))


def build(feed: Feed) -> tuple[Any, Any, Any]:
    """The sharded dataset, the mixture of it alone, and the collator, in training mode."""
    with quietly():
        from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
        from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
        from gr00t.data.embodiment_tags import EmbodimentTag

        from benchmarks.groot_processors import make_processor
        from millrace.train.groot.adapter import installed_adapter
        from millrace.train.groot.loader import SparseShardedDataset

        tag = EmbodimentTag.NEW_EMBODIMENT
        config = _modality_config(feed.dataset, tag.value)
        kind = SparseShardedDataset if feed.loader == "millrace" else ShardedSingleStepDataset
        shards = kind(feed.dataset, tag, config, shard_size=feed.shard_size, episode_sampling_rate=SAMPLING_RATE)
        processor = make_processor({tag.value: config})
        mixture = ShardedMixtureDataset([shards], [1.0], processor, num_shards_per_epoch=1000)
        collator = processor.collator
        if feed.loader == "millrace":
            collator = installed_adapter().wrap_collator(collator)
    return shards, mixture, collator


def quietly() -> Any:
    """GR00T prints as it is imported and at every shard; stdout is for the tables."""
    return contextlib.redirect_stdout(sys.stderr)


def _modality_config(dataset: Path, tag: str) -> Any:
    """The dataset's own; GR00T takes one a tag and process."""
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    if tag not in MODALITY_CONFIGS:
        spec = importlib.util.spec_from_file_location("benchmarked_modality_config", dataset / "modality_config.py")
        assert spec is not None, "a .py file has a loader"
        assert spec.loader is not None, "a .py file has a loader"
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return MODALITY_CONFIGS[tag]


def frames_decoded(loader: LoaderName, shards: Any) -> float:
    """Frames decoded for each step and camera of all shards: GR00T's reads whole episodes, ours what is planned."""
    from millrace.train.shards import group_visits

    if loader == "gr00t":
        entries = [entry for entries in shards.sharded_episodes for entry in entries]
        num_decoded = sum(shards.episode_loader.get_episode_length(episode) for episode, _ in entries)
        return num_decoded / int(np.sum(shards.shard_lengths))
    cameras = shards.modality_configs["video"].modality_keys
    num_decoded = 0
    for visit in (visit for entries in shards.sharded_episodes for visit in group_visits(entries)):
        index = shards.episode_loader.episodes_metadata[visit.episode]["episode_index"]
        for camera in cameras:
            num_decoded += _num_decoded(shards.files.video_path(index, camera), np.unique(visit.steps))
    return num_decoded / (int(np.sum(shards.shard_lengths)) * len(cameras))


def _num_decoded(path: Path, rows: NDArray[np.int64]) -> int:
    with open_video(path) as (container, stream):
        packets = [PacketInfo(packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size]
    times = np.sort(np.array([packet.pts for packet in packets]))
    return sum(use is not PacketUse.SKIP for use in plan_packets(packets, set(times[rows].tolist())))
