"""`millrace finetune --batch auto` on GR00T N1.7: the trial changes nothing of the run."""

from pathlib import Path

import pytest
from n1d7 import finetune_n1d7, why_not, write_base_n1d7
from tiny import run_python

from conftest import convert_here
from millrace.train.train_progress import BatchChosen, MeterReading
from support.synthetic import write_dataset
from support.train_log import read_events

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# GR00T's own backbone, which from some number of samples on runs out of memory as torch says it.
LIMITED = """
import torch
from gr00t.model.modules.qwen3_backbone import Qwen3Backbone

whole = Qwen3Backbone.forward

def forward(self, inputs):
    if len(inputs["input_ids"]) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    return whole(self, inputs)

Qwen3Backbone.forward = forward
"""
FLAGS = ("--global-batch-size", 8, "--num-gpus", 0, "--dataloader-num-workers", 1, "--max-steps", 3, "--save-steps", 3)
RANDOM = ("--state-dropout-prob", 0.5, "--random-rotation-angle", 10)


def test_the_batch_is_divided_by_a_trial_that_changes_nothing_on_n1d7(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(150, 150))
    convert_here(tmp_path / "source", tmp_path / "trained")
    write_base_n1d7(tmp_path / "trained/modality_config.py", tmp_path / "base")
    (tmp_path / "limited.py").write_text(LIMITED)

    def train(name: str, *flags: object) -> list[float]:
        arguments = finetune_n1d7(tmp_path / "trained", tmp_path / "base", tmp_path / name, *FLAGS, *RANDOM, *flags)
        done = run_python(*arguments, "--import-module", tmp_path / "limited.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [event.loss for event in read_events(tmp_path / name) if isinstance(event, MeterReading)]

    losses = train("auto", "--batch", "auto")
    (chosen,) = (event for event in read_events(tmp_path / "auto") if isinstance(event, BatchChosen))
    assert (chosen.per_device, chosen.accumulation) == (2, 4)
    assert len(losses) == 3
    assert losses == train("given", "--gradient-accumulation-steps", 4)
