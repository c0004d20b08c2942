"""How many samples a pass may have: tried on the model itself, before it is trained."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from millrace.embodiments import Remedy
from millrace.train.batch import BatchPlan
from millrace.train.errors import BatchError
from millrace.train.image_batch import Finisher, ImageBatch
from millrace.train.settings import FinetuneSettings
from millrace.train.train_progress import BatchChosen
from millrace.train.worker import Worker

# Share of a GPU's memory that a trial leaves free: for NCCL, and for what torch loses between its blocks.
SPARE = 0.05
# In training the gradients of the pass before are there while the next one runs.
NUM_PASSES = 2
BF16, FP32 = 2, 4


class BatchTrial:
    """Runs a model forward and backward on batches of one sample, with as much memory taken as training takes.

    Weights stay as they are, and no gradients are left.

    Args:
        model: As it will be trained; it is moved to the device.
        sample: Of the data loader; the costliest one, as all of a batch may be such.
        collate: Makes a batch of samples, of which the model's output has a "loss".
        device: Where it will be trained.
        settings: Of the run.
        has_bf16: Whether passes run in bf16.
    """

    def __init__(
        self,
        model: nn.Module,
        sample: Any,
        collate: Callable[[list[Any]], Any],
        *,
        device: torch.device,
        settings: FinetuneSettings,
        has_bf16: bool,
    ) -> None:
        self._model, self._sample, self._collate = model, sample, collate
        self._device, self._has_bf16, self._finisher = device, has_bf16, Finisher(device)
        self._num_reserved = optimizer_bytes(model, settings)

    def fits(self, size: int) -> bool:
        """Whether passes of so many samples fit the device's memory."""
        was_training = self._model.training
        self._model.train()
        is_fitting = True
        try:
            self._run(size)
        except torch.OutOfMemoryError:
            is_fitting = False
        # Only here: while an error is handled its frames hold what filled the memory.
        self._model.zero_grad(set_to_none=True)
        self._model.train(was_training)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return is_fitting

    def _run(self, size: int) -> None:
        self._model.to(self._device)
        reserved = self._reserve()
        batch = self._collate([self._sample] * size)
        for _ in range(NUM_PASSES):
            inputs = _move(batch, self._finisher)
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._has_bf16):
                loss = self._model(**inputs)["loss"]
            loss.backward()
        del reserved

    def _reserve(self) -> Tensor | None:
        """Memory that training will hold; on a CPU nothing refuses it, so that nothing is learnt by it."""
        if self._device.type != "cuda":
            return None
        spare = SPARE * torch.cuda.get_device_properties(self._device).total_memory
        return torch.empty(int(self._num_reserved + spare), dtype=torch.uint8, device=self._device)


def optimizer_bytes(model: nn.Module, settings: FinetuneSettings) -> int:
    """What training holds on each GPU beside a trial's weights, gradients and activations.

    AdamW's two moments, and DDP's buckets, a copy of the gradients. DeepSpeed's stage 2 has all weights in bf16, and
    shares an fp32 copy of the trained ones, the moments and the gradients; a trial, which has weights and gradients
    whole, holds more than that from three GPUs on.
    """
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    gradients: int = sum(weight.numel() * weight.element_size() for weight in trained)
    if not settings.uses_deepspeed:
        return gradients * (3 if settings.num_workers > 1 else 2)
    in_trial: int = sum(weight.numel() * weight.element_size() for weight in weights) + gradients
    shared: int = sum(weight.numel() for weight in trained) * (BF16 + 3 * FP32)
    whole: int = sum(weight.numel() for weight in weights) * BF16
    return max(whole + shared // settings.num_workers - in_trial, 0)


def choose_batch(worker: Worker, fits: Callable[[int], bool]) -> Worker:
    """Divide the global batch into the largest passes that fit all workers' GPUs; every worker calls it.

    Args:
        worker: This process.
        fits: Whether passes of so many samples fit this worker's.

    Returns:
        The worker with settings that say so.

    Raises:
        BatchError: not even one sample fits.
    """
    tried: dict[int, bool] = {}

    def fits_all(size: int) -> bool:
        tried[size] = all(worker.gather(fits(size)))
        return tried[size]

    share = BatchPlan.of(worker.settings).per_device
    largest = find_largest([size for size in range(1, share + 1) if share % size == 0], fits_all)
    if largest is None:
        raise BatchError(
            "--batch auto: out of memory with one sample a pass. ",
            Remedy(
                "Train fewer parts of the model, or on larger GPUs; with DeepSpeed, which shares more than a trial "
                "does, --batch fixed may still fit"
            ),
        )
    settings = replace(worker.settings, batch="fixed", gradient_accumulation_steps=share // largest)
    refused = min((size for size, is_fitting in tried.items() if not is_fitting), default=None)
    chosen = replace(worker, settings=settings)
    chosen.append(BatchChosen.of(BatchPlan.of(settings), step=worker.first_step, refused=refused))
    return chosen


def find_largest(sizes: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The largest size that fits; None where none does.

    Sizes are doubled until one is refused; then what lies between is halved.

    Args:
        sizes: Increasing.
        fits: Asked of few of them; what is smaller than one that fits fits as well.
    """
    fitting, refused, place = -1, len(sizes), 0
    while refused - fitting > 1:
        if fits(sizes[place]):
            fitting = place
        else:
            refused = place
        doubled = bisect_left(sizes, 2 * sizes[max(fitting, 0)])
        place = min(doubled, refused - 1) if refused == len(sizes) else (fitting + refused) // 2
    return None if fitting < 0 else sizes[fitting]


def find_costliest(samples: Sequence[Mapping[str, Any]]) -> Any:
    """The sample with the most bytes of images, joints and text."""
    return max(samples, key=_num_bytes)


def _num_bytes(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_num_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_num_bytes, value))
    if isinstance(value, Image):
        return value.width * value.height * len(value.getbands())
    return len(value) if isinstance(value, str) else int(getattr(value, "nbytes", 0))


def _move(value: Any, finisher: Finisher) -> Any:
    """A batch on the device, with its images finished there."""
    if isinstance(value, ImageBatch):
        return finisher(value)
    if isinstance(value, Mapping):
        return {key: _move(part, finisher) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_move(part, finisher) for part in value]
    return value.to(finisher.device) if isinstance(value, Tensor) else value
