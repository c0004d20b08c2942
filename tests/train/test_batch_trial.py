"""The largest pass that fits is tried on the model itself, which is not changed by it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch: pip install '.[train]'")

from torch import nn  # noqa: E402

from millrace.train.batch_trial import (  # noqa: E402
    BatchTrial,
    choose_batch,
    find_costliest,
    find_largest,
    optimizer_bytes,
)
from millrace.train.errors import BatchError, SettingsError  # noqa: E402
from millrace.train.image_batch import ImageBatch  # noqa: E402
from millrace.train.image_target import ImageTarget  # noqa: E402
from millrace.train.settings import FinetuneSettings  # noqa: E402
from millrace.train.train_progress import BatchChosen  # noqa: E402
from millrace.train.worker import Worker  # noqa: E402
from support.ranks import run_ranks  # noqa: E402
from support.train_log import read_events  # noqa: E402

TARGET = ImageTarget((4, 4), (127.5,) * 3, (127.5,) * 3)


class LimitedModel(nn.Module):
    """A model whose device has room for so many samples, by images and states."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.sizes = limit, list[int]()
        self.seen, self.frozen, self.dropout = nn.Linear(3, 2), nn.Linear(2, 2), nn.Dropout(0.5)
        self.frozen.requires_grad_(False)

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.sizes.append(len(inputs["state"]))
        means = torch.cat([image.mean((2, 3)) for image in inputs["pixel_values"]])
        assert len(means) == len(inputs["state"])
        loss = (self.dropout(self.frozen(self.seen(means))) - inputs["state"]).square().mean()
        if self.sizes[-1] > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return {"loss": loss}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """As the loader's: images as bytes."""
    states = torch.stack([torch.from_numpy(sample["state"]) for sample in samples])
    return {"inputs": {"state": states, "pixel_values": ImageBatch.stack([one["image"] for one in samples], TARGET)}}


SAMPLE = {"state": np.zeros(2, np.float32), "image": np.full((8, 8, 3), 200, np.uint8)}


def settings_for(folder: Path, **flags: Any) -> FinetuneSettings:
    values = {"global_batch_size": 48, "num_gpus": 0, "cpu": True, "batch": "auto"} | flags
    return FinetuneSettings(datasets=(folder,), base_model_path="base", output_dir=folder, **values)


def trial_of(model: nn.Module, settings: FinetuneSettings) -> BatchTrial:
    return BatchTrial(model, SAMPLE, collate, device=torch.device("cpu"), settings=settings, has_bf16=False)


def test_a_trial_leaves_weights_gradients_and_mode_as_they_were(tmp_path: Path) -> None:
    model = LimitedModel(4).eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trial = trial_of(model, settings_for(tmp_path))
    assert [trial.fits(size) for size in (1, 4, 5, 2)] == [True, True, False, True]
    # A second pass has the gradients of the first beside it, as with accumulation.
    assert model.sizes == [1, 1, 4, 4, 5, 2, 2]
    assert not model.training
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    trial = BatchTrial(
        LimitedModel(4),
        SAMPLE,
        lambda samples: {"other": samples},
        device=torch.device("cpu"),
        settings=settings_for(tmp_path),
        has_bf16=False,
    )
    with pytest.raises(TypeError, match="other"):
        trial.fits(1)


@given(st.sets(st.integers(1, 5000), min_size=1, max_size=40), st.integers(0, 5001))
def test_the_largest_size_is_found_in_few_trials(sizes: set[int], limit: int) -> None:
    ordered, asked = sorted(sizes), list[int]()

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    assert find_largest(ordered, fits) == max((size for size in ordered if size <= limit), default=None)
    assert len(asked) == len(set(asked)) <= 2 * math.log2(5000) + 2


def test_nothing_larger_than_twice_what_fits_is_tried() -> None:
    """A batch of 4096 may take the memory of the machine before it takes the GPU's."""
    asked = list[int]()

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= 20

    assert find_largest([2**power for power in range(13)], fits) == 16
    assert asked == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("limit", "passes", "line"),
    [
        (5, (4, 12), "batch of 48 = 4 samples a pass x 12 accumulated x 1 worker(s); 6 a pass are out of memory"),
        (1, (1, 48), "batch of 48 = 1 samples a pass x 48 accumulated x 1 worker(s); 2 a pass are out of memory"),
        (99, (48, 1), "batch of 48 = 48 samples a pass x 1 accumulated x 1 worker(s)"),
    ],
)
def test_passes_divide_the_global_batch_exactly_and_are_told(
    tmp_path: Path, limit: int, passes: tuple[int, int], line: str
) -> None:
    settings = settings_for(tmp_path)
    worker = Worker(0, 1, tmp_path, None, settings, lambda metrics, checkpoint: None)
    chosen = choose_batch(worker, trial_of(LimitedModel(limit), settings).fits).settings
    assert (chosen.batch, chosen.global_batch_size) == ("fixed", 48)
    assert (48 // chosen.gradient_accumulation_steps, chosen.gradient_accumulation_steps) == passes
    (event,) = (event for event in read_events(tmp_path) if isinstance(event, BatchChosen))
    assert event.line == line


def test_a_model_that_does_not_fit_at_all_is_an_error(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    worker = Worker(0, 1, tmp_path, None, settings, lambda metrics, checkpoint: None)
    with pytest.raises(BatchError, match="--batch auto: out of memory with one sample a pass"):
        choose_batch(worker, trial_of(LimitedModel(0), settings).fits)


def test_all_workers_take_what_fits_the_smallest_gpu(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, num_gpus=2)

    def choose(rank: int) -> int:
        worker = Worker(rank, 2, tmp_path, None, settings, lambda metrics, checkpoint: None)
        fits = trial_of(LimitedModel((12, 3)[rank]), settings).fits
        return choose_batch(worker, fits).settings.gradient_accumulation_steps

    chosen: Callable[[int], int] = choose
    assert run_ranks(chosen, tmp_path) == [8, 8]  # passes of 3
    assert len([event for event in read_events(tmp_path) if isinstance(event, BatchChosen)]) == 1


def test_the_optimizers_memory_is_that_of_adamw(tmp_path: Path) -> None:
    model = LimitedModel(4)
    optimizer = torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)
    model({"state": torch.zeros(1, 2), "pixel_values": [torch.ones(1, 3, 4, 4)]})["loss"].backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    held = sum(value.numel() * value.element_size() for value in moments)
    assert optimizer_bytes(model, settings_for(tmp_path)) == held
    gradients = sum(weight.grad.numel() * 4 for weight in model.parameters() if weight.grad is not None)
    assert optimizer_bytes(model, settings_for(tmp_path, num_gpus=2)) == held + gradients


def test_what_deepspeed_shares_is_counted_less(tmp_path: Path) -> None:
    """Each of two GPUs holds 2 + 14 / 2 bytes of a trained weight, a trial 4 + 4; each of eight less than that."""
    model = LimitedModel(4)
    model.frozen.requires_grad_(True)
    num_trained = (3 * 2 + 2) + (2 * 2 + 2)
    assert optimizer_bytes(model, settings_for(tmp_path, num_gpus=2, cpu=False)) == (9 - 8) * num_trained
    assert optimizer_bytes(model, settings_for(tmp_path, num_gpus=8, cpu=False)) == 0


def test_the_costliest_sample_has_the_most_images_or_text() -> None:
    images = [{"image": [np.zeros((4, 4, 3), np.uint8)] * number, "text": "go"} for number in (1, 3, 2)]
    assert find_costliest(images) is images[1]
    texts = [{"image": images[0]["image"], "text": "go " * number} for number in (2, 9, 5)]
    assert find_costliest(texts) is texts[1]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"gradient_accumulation_steps": 2}, "batch='auto' chooses .* leave out gradient_accumulation_steps=2"),
        ({"num_gpus": 2, "cpu": False, "deepspeed_stage": 3}, "the whole model on each GPU, and deepspeed_stage=3 has"),
    ],
)
def test_settings_that_contradict_a_trial_are_errors(tmp_path: Path, flags: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings_for(tmp_path, **flags)
