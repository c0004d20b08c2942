"""What a run needs of memory, disk and time, by formulas that are printed with their results.

Only the constants that say so were measured; the others are the guides' or those of AdamW and DeepSpeed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from millrace.engine.dataset.releases import ModelLimits, Release
from millrace.train.groot.components import Component
from millrace.train.groot.model_parts import BF16_BYTES, FP32_BYTES

# Bytes of one number.
BF16, FP32, FLOAT64 = BF16_BYTES, FP32_BYTES, 8
# AdamW's two moments, fp32.
ADAM = 2 * FP32
# Activations of one sample, so that the formula meets the ALOHA guide's one A100: ~40 GB at a batch of 32. Unmeasured.
ACTIVATION_BYTES = 0.35e9
# Samples per second of one GPU, from the same row: 5000 steps of 32 in two hours. Unmeasured.
GPU_SAMPLES_PER_SECOND = 5000 * 32 / 7200
# What processes have for themselves, with torch, GR00T's processor and its tokenizer, before any data. Measured as
# `python -m benchmarks.loader_memory` does, GR00T N1.6, Python 3.10, Linux: a worker 0.80 to 0.83 GB, a forked loader
# 0.28 to 0.29 GB of the 0.83 GB that it sees, the server that loaders are forked from 0.47 GB.
WORKER_BYTES, SERVER_BYTES, FORKED_LOADER_BYTES = 0.8e9, 0.5e9, 0.3e9
# A loader process that shares nothing, as of "spawn": measured earlier.
LOADER_BYTES = 0.65e9
# Batches that torch's DataLoader has each of its processes make in advance; they lie in shared memory.
PREFETCHED_BATCHES = 2
# The part of the available memory that a run may take, since formulas and other processes err.
USABLE = 0.9


@dataclass(frozen=True)
class ModelSize:
    """A model's numbers. frozen_bytes: of the weights that are not trained."""

    num_values: int
    num_trained: int
    frozen_bytes: int

    @classmethod
    def of(cls, parts: Iterable[Component]) -> "ModelSize":
        """The sum of a model's components."""
        parts = tuple(parts)
        frozen = [part for part in parts if not part.is_trained]
        return cls(
            num_values=sum(part.num_values for part in parts),
            num_trained=sum(part.num_values for part in parts if part.is_trained),
            frozen_bytes=sum(part.num_values * part.frozen_bytes for part in frozen),
        )


@dataclass(frozen=True)
class Sharing:
    """How workers share the optimizer: by DeepSpeed's ZeRO of a stage, 2 or 3, or not at all (stage 0)."""

    num_workers: int
    zero_stage: int = 0


def gpu_bytes(model: ModelSize, sharing: Sharing, *, per_device_batch: int = 0) -> float:
    """Memory that one GPU needs for weights, gradients and AdamW, and for the activations of a batch."""
    if sharing.zero_stage == 0:
        # DDP sends gradients from buckets, a second copy of them.
        buckets = FP32 if sharing.num_workers > 1 else 0
        held = model.frozen_bytes + model.num_trained * (2 * FP32 + buckets + ADAM)
        return held + per_device_batch * ACTIVATION_BYTES
    weights = model.num_values * BF16
    gradients_and_adam = model.num_trained * (BF16 + FP32 + ADAM) / sharing.num_workers
    if sharing.zero_stage == 3:
        weights = weights // sharing.num_workers
    return weights + gradients_and_adam + per_device_batch * ACTIVATION_BYTES


def weight_bytes(model: ModelSize) -> float:
    """The weights as a worker loads them."""
    return model.frozen_bytes + model.num_trained * FP32


def checkpoint_bytes(model: ModelSize | None, sharing: Sharing, release: Release) -> float:
    """One checkpoint: weights and AdamW; DeepSpeed stores the weights a second time, and a copy in fp32."""
    if model is None:
        return release.checkpoint_bytes
    if sharing.zero_stage == 0:
        return model.frozen_bytes + model.num_trained * (FP32 + ADAM)
    return 2 * model.num_values * BF16 + model.num_trained * (FP32 + ADAM)


def saved_weight_bytes(model: ModelSize | None, sharing: Sharing, release: Release) -> float:
    """The weights of a checkpoint; where the model is unknown, the whole checkpoint."""
    if model is None:
        return release.checkpoint_bytes
    if sharing.zero_stage == 0:
        return model.frozen_bytes + model.num_trained * FP32
    return model.num_values * BF16


def image_bytes(side: int) -> int:
    """Bytes of one image of a processed sample, (side, side, 3) uint8."""
    return side**2 * 3


def padded_bytes(limits: ModelLimits) -> int:
    """A processed sample's padded state (fp32), and its padded action (fp32) with a mask (float64)."""
    return limits.max_dims["state"] * FP32 + limits.max_horizon * limits.max_dims["action"] * (FP32 + FLOAT64)


def loader_bytes(sample_bytes: int, *, shard_steps: float, is_forked: bool) -> float:
    """Memory of one loader process: the shard in use, the next one being read, and the process itself."""
    return (FORKED_LOADER_BYTES if is_forked else LOADER_BYTES) + 2 * shard_steps * sample_bytes


def training_seconds(num_samples: int, *, num_gpus: int) -> float:
    """Time on GPUs such as the guide's A100, fed fast enough."""
    return num_samples / (GPU_SAMPLES_PER_SECOND * num_gpus)


@dataclass(frozen=True)
class GuideRow:
    """A row of the ALOHA guide's resource table; batch: of the guide's command for it, or as the row says."""

    hardware: str
    global_batch: int
    num_gpus: int
    gpu_memory: str
    time_5k_steps: str


GUIDE_ROWS = (
    GuideRow("1x A100 (80GB)", 32, 1, "~40GB", "~2 hours"),
    GuideRow("1x RTX 4090 (24GB)", 16, 1, "~20GB (batch 16)", "~4 hours"),
    GuideRow("4x A100 (80GB)", 64, 4, "~30GB each", "~30 minutes"),
)
GUIDE_STEPS = 5000
