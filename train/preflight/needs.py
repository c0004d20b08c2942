"""What a run needs of memory and disk against what there is."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import ModelLimits
from millrace.train.groot.adapter import load_adapter
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.preflight.data import TrainedDataset, keeps_aspect
from millrace.train.preflight.machine import SHARED_MEMORY, Machine
from millrace.train.preflight.resources import (
    PREFETCHED_BATCHES,
    SERVER_BYTES,
    USABLE,
    WORKER_BYTES,
    ModelSize,
    Sharing,
    checkpoint_bytes,
    gpu_bytes,
    image_bytes,
    loader_bytes,
    padded_bytes,
    saved_weight_bytes,
    weight_bytes,
)
from millrace.train.preflight.run_checks import make_run_problem
from millrace.train.run_folder import complete_checkpoints
from millrace.train.settings import FinetuneSettings

GB = 1e9


@dataclass(frozen=True)
class Needs:
    """What a run needs of one machine, bytes. per_gpu: None where the model's sizes are unknown.

    Args:
        per_loader: Memory of one loader process.
        num_loaders: Loader processes of all workers.
        per_worker: Memory of one worker while it loads the model, and while it trains.
        num_workers: Training processes.
        checkpoint: One checkpoint on disk.
        older_checkpoint: One that is neither the newest nor being written.
        num_checkpoints: Kept at a time, the one being written included.
        per_gpu: GPU memory without activations, and with those of the batch.
        per_batch: A worker's batch, as its loader processes hand it over.
        num_batches: Batches of all workers that are handed over or wait at a time.
    """

    per_loader: float
    num_loaders: int
    per_worker: tuple[float, float]
    num_workers: int
    checkpoint: float
    older_checkpoint: float
    num_checkpoints: int
    per_gpu: tuple[float, float] | None
    per_batch: float = 0.0
    num_batches: int = 0

    @property
    def loaders(self) -> float:
        """The memory of all loader processes."""
        return self.per_loader * self.num_loaders

    @property
    def loading(self) -> float:
        """The memory of all workers while each loads the model, before there are loader processes."""
        return self.per_worker[0] * self.num_workers

    @property
    def memory(self) -> float:
        """The most memory that all processes take at a time."""
        return max(self.loading, self.per_worker[1] * self.num_workers + self.loaders)

    @property
    def shared_memory(self) -> float:
        """The shared memory of all batches that loader processes have made in advance."""
        return self.per_batch * self.num_batches

    @property
    def disk(self) -> float:
        """The disk space of all checkpoints that are kept at the same time."""
        return self.checkpoint * (self.num_checkpoints - self.num_older) + self.older_checkpoint * self.num_older

    @property
    def num_older(self) -> int:
        """Checkpoints beside the newest and the one being written."""
        return max(self.num_checkpoints - 2, 0)


def estimate_needs(
    settings: FinetuneSettings,
    datasets: Sequence[TrainedDataset],
    *,
    base: BaseCheckpoint | None,
    model: ModelSize | None,
) -> Needs:
    """Estimate by the formulas of resources.py; where the base model is unknown, for the released one."""
    sharing = choose_sharing(settings)
    per_device = math.ceil(settings.global_batch_size / settings.gradient_accumulation_steps / settings.num_workers)
    num_saves = math.ceil(settings.max_steps / settings.save_steps)
    older_bytes = saved_weight_bytes if settings.save_only_model else checkpoint_bytes
    per_gpu = None
    if model is not None and not settings.cpu:
        smallest = 1 if settings.batch == "auto" else per_device
        per_gpu = gpu_bytes(model, sharing), gpu_bytes(model, sharing, per_device_batch=smallest)
    return Needs(
        per_loader=max((_loader_bytes(settings, dataset, base) for dataset in datasets), default=0.0),
        # Without loader processes the worker itself holds the shards.
        num_loaders=settings.num_workers * max(settings.dataloader_num_workers, 1),
        per_worker=_worker_bytes(settings, model),
        num_workers=settings.num_workers,
        checkpoint=checkpoint_bytes(model, sharing, settings.release),
        older_checkpoint=older_bytes(model, sharing, settings.release),
        # The best on held-out episodes is kept beside the newest.
        num_checkpoints=min(settings.save_total_limit + 1 + (settings.eval_dataset is not None), num_saves),
        per_gpu=per_gpu,
        per_batch=per_device * max((_batched_bytes(settings, dataset, base) for dataset in datasets), default=0),
        num_batches=settings.num_workers * settings.dataloader_num_workers * PREFETCHED_BATCHES,
    )


def choose_sharing(settings: FinetuneSettings) -> Sharing:
    """The way in which the workers of a run share the optimizer."""
    return Sharing(settings.num_workers, settings.deepspeed_stage if settings.uses_deepspeed else 0)


def _worker_bytes(settings: FinetuneSettings, model: ModelSize | None) -> tuple[float, float]:
    process = 0.0  # without loader processes it is the loader
    if settings.dataloader_num_workers:
        process = WORKER_BYTES + (SERVER_BYTES if settings.multiprocessing_context == "forkserver" else 0.0)
    if model is None:
        return process, process
    loading = process + weight_bytes(model)
    return loading, process + gpu_bytes(model, choose_sharing(settings)) if settings.cpu else process


def _limits_and_side(settings: FinetuneSettings, base: BaseCheckpoint | None) -> tuple[ModelLimits, int]:
    """The limits of the base model, or of the released one where that is unknown, and the shorter side of images."""
    release = settings.release
    limits, side = (release.limits, release.image_side) if base is None else (base.limits, base.image_side)
    return limits, settings.shortest_image_edge or side


def _squares(settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint | None) -> float:
    """Images of one step, counted in squares of their shorter side."""
    return dataset.num_images * (dataset.widest_aspect if keeps_aspect(settings, base) else 1.0)


def _batched_bytes(settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint | None) -> int:
    """One sample of a batch; our loader hands over images as bytes, GR00T's as the model takes them."""
    limits, side = _limits_and_side(settings, base)
    per_image = load_adapter(settings.release).batch_image_bytes(side) if settings.stock_loader else image_bytes(side)
    return padded_bytes(limits) + math.ceil(_squares(settings, dataset, base) * per_image)


def _loader_bytes(settings: FinetuneSettings, dataset: TrainedDataset, base: BaseCheckpoint | None) -> float:
    limits, side = _limits_and_side(settings, base)
    sample = padded_bytes(limits) + math.ceil(_squares(settings, dataset, base) * image_bytes(side))
    # GR00T's own loader decodes whole episodes.
    decoded = dataset.episode_bytes if settings.stock_loader else 0
    is_forked = settings.dataloader_num_workers > 0 and settings.multiprocessing_context != "spawn"
    return loader_bytes(sample, shard_steps=dataset.cut(settings).steps_per_shard, is_forked=is_forked) + decoded


def need_problems(settings: FinetuneSettings, needs: Needs, machine: Machine) -> Iterator[Problem]:
    """Memory, disk and output folder; on a cluster only what is known of all its machines."""
    if machine.why_not_writable is not None:
        message = f"{settings.run_folder} cannot be made: {machine.why_not_writable}"
        yield make_run_problem("output-dir", message)
    yield from _disk_problems(settings, needs, machine)
    if settings.address:
        return
    yield from _memory_problems(settings, needs, machine)
    yield from _shared_memory_problems(settings, needs, machine)
    if needs.per_gpu is not None:
        yield from gpu_memory_problems(settings, needs.per_gpu, [gpu.memory_bytes for gpu in machine.gpus.cards])


def _disk_problems(settings: FinetuneSettings, needs: Needs, machine: Machine) -> Iterator[Problem]:
    there = 0 if settings.overwrite else len(complete_checkpoints(settings.run_folder))
    missing = max(needs.disk - there * needs.older_checkpoint, needs.checkpoint)
    if missing <= machine.disk_bytes:
        return
    message = (
        f"{needs.num_checkpoints} checkpoints of {needs.checkpoint / GB:.1f} GB (--save-total-limit "
        f"{settings.save_total_limit}, and one being written) need {missing / GB:.0f} GB more, "
        f"{settings.run_folder} has {machine.disk_bytes / GB:.0f} GB free"
    )
    fitting = int(machine.disk_bytes // needs.checkpoint) - 1 + there
    yield make_run_problem("disk", message, fewer=f"Pass --save-total-limit {fitting}" if fitting >= 1 else "Free some")


def _memory_problems(settings: FinetuneSettings, needs: Needs, machine: Machine) -> Iterator[Problem]:
    available = machine.memory_bytes * USABLE
    if needs.memory <= available:
        return
    there = f"{machine.memory_bytes / GB:.1f} GB of memory are available"
    if needs.loading > available:
        workers = f"{needs.num_workers} workers, each of which loads the model into {needs.per_worker[0] / GB:.1f} GB"
        fewer = "a smaller --num-gpus, or train on a machine with more memory"
        yield make_run_problem("memory", f"{workers}, need {needs.loading / GB:.1f} GB, {there}", fewer=fewer)
        return
    message = (
        f"{needs.num_loaders} loader processes of {needs.per_loader / GB:.1f} GB and {needs.num_workers} workers need "
        f"{needs.memory / GB:.1f} GB, {there}"
    )
    left = max(available - (needs.memory - needs.loaders), 0)
    fitting = int(left // needs.per_loader) // settings.num_workers if needs.per_loader else 0
    fewer = f"--dataloader-num-workers {fitting}, or a smaller --shard-size" if fitting else ""
    yield make_run_problem("memory", message, fewer=fewer or f"a --shard-size smaller than {settings.shard_size}")


def _shared_memory_problems(settings: FinetuneSettings, needs: Needs, machine: Machine) -> Iterator[Problem]:
    """Whether batches fit: a loader process that finds no room ends with a bus error."""
    if machine.shared_bytes is None or needs.shared_memory <= machine.shared_bytes:
        return
    workers, loaders = settings.num_workers, settings.dataloader_num_workers
    message = (
        f"{SHARED_MEMORY} has {machine.shared_bytes / GB:.2f} GB free, {needs.num_batches} batches of "
        f"{needs.per_batch / GB:.2f} GB need {needs.shared_memory / GB:.2f} GB ({workers} workers x {loaders} loader "
        f"processes x {PREFETCHED_BATCHES} prefetched)"
    )
    wanted = 2 ** math.ceil(math.log2(max(needs.shared_memory / GB, 1.0)) + 1)
    fitting = int(machine.shared_bytes // (needs.per_batch * PREFETCHED_BATCHES * workers))
    yield make_run_problem("shared-memory", message, size=f"{wanted}g", fitting=fitting)


def gpu_memory_problems(
    settings: FinetuneSettings, per_gpu: tuple[float, float], memory_bytes: Iterable[int]
) -> Iterator[Problem]:
    """Whether what each GPU holds fits the smallest of them.

    Args:
        settings: Of the run.
        per_gpu: Bytes without activations, and with those of the batch.
        memory_bytes: Of each GPU; none if unknown.
    """
    smallest = min(memory_bytes, default=None)
    fixed, with_batch = per_gpu
    if smallest is None or with_batch <= smallest * USABLE:
        return
    if fixed > smallest:
        message = f"CUDA out of memory: weights, gradients and AdamW need {fixed / GB:.0f} GB"
        message += f", the GPU has {smallest / GB:.0f} GB"
        yield make_run_problem("gpu-memory", message, train=_smaller_model(settings))
        return
    message = (
        f"CUDA out of memory is likely: {with_batch / GB:.0f} GB (by a formula, unmeasured) of {smallest / GB:.0f} GB, "
        f"of which {fixed / GB:.0f} GB do not depend on the batch"
    )
    yield make_run_problem("gpu-memory-batch", message)


def _smaller_model(settings: FinetuneSettings) -> str:
    """Which flags make it smaller, the largest parts first."""
    names = ("tune_llm", "tune_visual", "tune_diffusion_model")
    flags = [f"--no-{name.replace('_', '-')}" for name in names if getattr(settings, name)]
    return f"Pass {' or '.join(flags[:2])}, or train" if flags else "Train"
