"""Training steps of N1.7 in small on one GPU: bf16, NCCL and DeepSpeed with one rank, a fused optimizer."""

import math
from pathlib import Path

import pytest
from n1d7 import finetune_n1d7, why_not, write_base_n1d7
from tiny import run_python

from conftest import convert_here
from millrace.engine.video.gpu import hardware
from millrace.train.run_folder import complete_checkpoints
from millrace.train.train_progress import MeterReading
from support.synthetic import write_dataset
from support.train_log import read_events

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(not hardware.may_have_gpu(), reason="NOT TESTED: needs an NVIDIA GPU"),
]
STEPS = ("--num-gpus", 1, "--global-batch-size", 4, "--dataloader-num-workers", 1, "--max-steps", 2, "--save-steps", 2)
# The launcher takes neither on one GPU; every worker imports such a file before it trains.
FUSED = """
from millrace.train.groot import config

values = config.training_values
config.training_values = lambda settings: values(settings) | {"optim": "adamw_torch_fused"}
"""
ZERO = """
from millrace.train.settings import FinetuneSettings

FinetuneSettings.uses_deepspeed = property(lambda settings: True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset `trained` and a model `base`."""
    folder = tmp_path_factory.mktemp("gpu_step")
    write_dataset(folder / "source", lengths=(150, 150))
    convert_here(folder / "source", folder / "trained")
    write_base_n1d7(folder / "trained/modality_config.py", folder / "base")
    return folder


def train(folder: Path, name: str, *, changes: str = "") -> None:
    """Two steps in a worker of Ray Train; losses are finite, and the checkpoint is complete."""
    imported: tuple[object, ...] = ()
    if changes:
        (folder / f"{name}.py").write_text(changes)
        imported = ("--import-module", folder / f"{name}.py")
    words = [
        word
        for word in finetune_n1d7(folder / "trained", folder / "base", folder / name, *STEPS, *imported)
        if word != "--cpu"
    ]
    done = run_python(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    losses = [event.loss for event in read_events(folder / name) if isinstance(event, MeterReading)]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert [path.name for path in complete_checkpoints(folder / name)] == ["checkpoint-2"]


def test_bf16_with_nccl_of_one_rank(folder: Path) -> None:
    train(folder, "bf16")


def test_a_fused_optimizer(folder: Path) -> None:
    train(folder, "fused", changes=FUSED)


def test_deepspeed_zero_2_with_one_rank(folder: Path) -> None:
    pytest.importorskip("deepspeed", reason="NOT TESTED: DeepSpeed is not installed")
    train(folder, "zero", changes=ZERO)
