"""What a worker refuses to go on with: losses and weights that are no numbers."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch: pip install '.[train]'")

from millrace.train import worker as workers  # noqa: E402
from millrace.train.errors import WeightsDiverged  # noqa: E402
from millrace.train.settings import FinetuneSettings  # noqa: E402
from millrace.train.train_progress import Meter, MeterReading  # noqa: E402
from millrace.train.worker import Worker, absolute_sum  # noqa: E402
from support.train_log import read_events  # noqa: E402


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """The only worker of a run."""
    settings = FinetuneSettings(datasets=(tmp_path,), base_model_path="base", output_dir=tmp_path, num_gpus=0, cpu=True)
    return Worker(0, 1, tmp_path, None, settings, lambda metrics, checkpoint: None)


def test_the_gradients_norm_is_in_the_log(worker: Worker) -> None:
    meter = Meter(0)
    shown = worker.log(meter, step=1, loss=0.5, learning_rate=1e-4, grad_norm=1.25)
    worker.log(meter, step=2, loss=0.5, learning_rate=1e-4)
    events = read_events(worker.folder)
    assert [event.grad_norm for event in events if isinstance(event, MeterReading)] == [1.25, None]
    assert "grad norm 1.25" in shown.line


@pytest.mark.parametrize(
    ("loss", "norm", "told"),
    [
        (float("nan"), 1.0, "step 7: the loss is nan and the gradients' norm 1: training has diverged"),
        (0.5, float("inf"), "step 7: the loss is 0.5 and the gradients' norm inf: training has diverged"),
        (float("inf"), None, "step 7: the loss is inf: training has diverged"),
    ],
)
def test_a_loss_or_gradient_that_is_no_number_ends_the_run_at_once(
    worker: Worker, loss: float, norm: float | None, told: str
) -> None:
    with pytest.raises(WeightsDiverged, match=f"^{told}.* --learning-rate$"):
        worker.log(Meter(0), step=7, loss=loss, learning_rate=1e-4, grad_norm=norm)


def test_weights_are_added_up_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 at once an embedding of 151,680 x 2048 takes 2.5 GB more of a GPU that may be full."""
    monkeypatch.setattr(workers, "VALUES_AT_A_TIME", 5)
    weight = torch.arange(-6.0, 6.0).reshape(3, 4)
    assert absolute_sum(weight) == absolute_sum(weight.T) == absolute_sum(weight.bfloat16()) == 36
    assert absolute_sum(torch.tensor(2.0)) == 2
    assert absolute_sum(torch.zeros(0)) == 0


def test_each_file_of_a_checkpoint_is_flushed_before_it_is_marked_complete(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = worker.folder / "checkpoint-5"
    (checkpoint / "global_step5").mkdir(parents=True)
    for name in ("model.safetensors", "global_step5/rank_0.pt"):
        (checkpoint / name).touch()
    flushed: list[tuple[Path, bool]] = []

    def note(descriptor: int) -> None:
        flushed.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")), (checkpoint / "COMPLETE").exists()))

    monkeypatch.setattr(os, "fsync", note)
    worker.save(checkpoint, [torch.ones(2)], None)
    written = {checkpoint / "model.safetensors", checkpoint / "global_step5/rank_0.pt", checkpoint / "global_step5"}
    assert {path for path, is_marked in flushed if not is_marked} == {*written, checkpoint, worker.folder}
    assert flushed[-1] == (checkpoint, True)
