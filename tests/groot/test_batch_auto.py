"""`millrace finetune --batch auto` with GR00T's own parts: passes that a limited model takes, nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
from tiny import WHY_NOT, finetune, run_python
from tiny_run import tiny_run

from millrace.train.train_progress import BatchChosen, MeterReading
from support.train_log import read_events

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

# The tiny model, which from some number of samples on runs out of memory as torch says it.
LIMITED = """
import tiny_model
import torch

whole = tiny_model.TinyBackbone.forward

def forward(self, inputs):
    if len(inputs["input_ids"]) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    return whole(self, inputs)

tiny_model.TinyBackbone.forward = forward
"""
FLAGS = ("--global-batch-size", 8, "--num-gpus", 0, "--dataloader-num-workers", 1, "--max-steps", 3, "--save-steps", 3)
RANDOM = ("--state-dropout-prob", 0.5, "--random-rotation-angle", 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    (folder / "limited.py").write_text(LIMITED)
    return folder


def train(folder: Path, name: str, run: Path, *flags: object) -> "subprocess.CompletedProcess[str]":
    arguments = finetune(run / "out/gr1", run / "base", folder / name, *FLAGS, *RANDOM)
    done = run_python(*arguments, "--import-module", folder / "limited.py", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def test_the_batch_is_divided_by_a_trial_that_changes_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tiny_run(tmp_path_factory.getbasetemp()).folder
    done = train(folder, "auto", run, "--batch", "auto")
    told = "batch of 8 = 2 samples a pass x 4 accumulated x 1 worker(s); 4 a pass are out of memory"
    assert told in done.stderr.splitlines()
    (chosen,) = (event for event in read_events(folder / "auto") if isinstance(event, BatchChosen))
    assert (chosen.per_device, chosen.accumulation) == (2, 4)
    assert json.loads((folder / "auto/checkpoint-3/trainer_state.json").read_text())["train_batch_size"] == 2
    train(folder, "given", run, "--gradient-accumulation-steps", 4)
    found, expected = (
        [event.loss for event in read_events(folder / name) if isinstance(event, MeterReading)]
        for name in ("auto", "given")
    )
    assert len(found) == 3
    assert found == expected


def test_a_batch_that_is_too_large_says_what_keeps_it(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = tiny_run(tmp_path_factory.getbasetemp()).folder
    arguments = finetune(run / "out/gr1", run / "base", folder / "full", *FLAGS)
    done = run_python(*arguments, "--import-module", folder / "limited.py", cwd=folder)
    assert done.returncode == 1
    assert "CUDA out of memory. Tried to allocate 20.00 GiB" in done.stderr.splitlines()[-1]
    assert "pass --batch auto, or a larger --gradient-accumulation-steps" in done.stderr.splitlines()[-1]
