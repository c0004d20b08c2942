"""Held-out loss and open-loop error while GR00T's own processor, head and trainer train, with a tiny backbone."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import TINY_MODEL, WHY_NOT, finetune, run_python, write_base

from conftest import convert_here
from millrace.train.heldout import HeldOut, read_heldout
from millrace.train.run_folder import complete_checkpoints, is_weights_only
from millrace.train.train_progress import Evaluated, MeterReading, read_events
from support.event_files import read_scalars
from support.synthetic import write_dataset

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

BATCH = ("--global-batch-size", 4, "--dataloader-num-workers", 0, "--num-gpus", 0)
RANDOM = ("--state-dropout-prob", 0.5, "--random-rotation-angle", 10)
STEPS = ("--max-steps", 4, "--save-steps", 2, "--save-total-limit", 1)
SAMPLES = ("--eval-samples", 20, "--eval-episodes", 2)
# Weights stay those of the base model.
STILL = ("--learning-rate", 1e-12, "--max-steps", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets `trained` and `heldout`, and the model `base`."""
    folder = tmp_path_factory.mktemp("heldout")
    write_dataset(folder / "source", lengths=(150, 140, 130, 120))  # at 50 Hz
    convert_here(folder / "source", folder / "trained", episodes="0,1")
    convert_here(folder / "source", folder / "heldout", episodes="2,3")
    write_base(folder / "trained/modality_config.py", folder / "base")
    return folder


def train(folder: Path, name: str, *flags: object) -> "subprocess.CompletedProcess[str]":
    done = run_python(*finetune(folder / "trained", folder / "base", folder / name, *flags), cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def measure(folder: Path, name: str, *flags: object) -> HeldOut:
    """The errors of a run's last evaluation."""
    train(folder, name, "--eval-dataset", folder / "heldout", *SAMPLES, *flags)
    return events(folder / name, Evaluated)[-1].heldout


def events(run: Path, kind: type) -> list[Any]:
    return [event for event in read_events(run) if isinstance(event, kind)]


@pytest.fixture(scope="module")
def measured(folder: Path) -> "subprocess.CompletedProcess[str]":
    """A run that evaluates at each step, with dropout and augmentation, and keeps the weights alone."""
    every = ("--eval-dataset", folder / "heldout", "--eval-steps", 1, "--save-only-model", "--tensorboard")
    return train(folder, "measured", *BATCH, *RANDOM, *STEPS, *SAMPLES, *every)


def test_it_is_logged_and_shown_as_training_goes(folder: Path, measured: Any) -> None:
    found = events(folder / "measured", Evaluated)
    assert [event.step for event in found] == [1, 2, 3, 4]
    assert len({event.heldout.loss for event in found}) == 4
    assert {event.heldout.num_samples for event in found} == {20}
    assert set(found[0].heldout.group_mae) == {"left_arm", "right_arm", "waist", "left_hand", "right_hand"}
    for event in found:
        assert f"step {event.step}  {event.heldout.line}" in measured.stderr.splitlines()


def test_tensorboard_has_each_step_and_each_evaluation(folder: Path, measured: Any) -> None:
    (log,) = (folder / "measured/runs").rglob("events.out.tfevents.*")
    read = read_scalars(log)
    readings, evaluated = (events(folder / "measured", kind) for kind in (MeterReading, Evaluated))
    expected = {
        "train/loss": {reading.step: reading.loss for reading in readings},
        "train/grad_norm": {reading.step: reading.grad_norm for reading in readings},
        "train/learning_rate": {reading.step: reading.learning_rate for reading in readings},
        "eval/loss": {event.step: event.heldout.loss for event in evaluated},
        "eval/open_loop_mse": {event.step: event.heldout.mse for event in evaluated},
        "eval/open_loop_mae": {event.step: event.heldout.mae for event in evaluated},
        "eval/open_loop_range_error": {event.step: event.heldout.range_error for event in evaluated},
    }
    for name, values in expected.items():
        assert read[name] == pytest.approx(values, rel=1e-6), name


def test_training_is_the_same_without_it(folder: Path, measured: Any) -> None:
    train(folder, "unmeasured", *BATCH, *RANDOM, *STEPS)
    losses = [[reading.loss for reading in events(folder / name, MeterReading)] for name in ("measured", "unmeasured")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_the_best_checkpoint_is_kept_and_named(folder: Path, measured: Any) -> None:
    kept = complete_checkpoints(folder / "measured")
    found = {event.step: event.heldout for event in events(folder / "measured", Evaluated)}
    best = min((4, 2), key=lambda step: found[step].deciding_error)
    assert found[best].range_error is not None
    assert [path.name for path in kept] == [f"checkpoint-{step}" for step in sorted({best, 4})]
    for path in kept:
        assert read_heldout(path) == found[int(path.name.removeprefix("checkpoint-"))]
    told = f"best by open-loop error as a share of each joint's range: {folder / f'measured/checkpoint-{best}'}"
    assert told in measured.stderr


def test_weights_alone_are_left_and_cannot_be_resumed_from(folder: Path, measured: Any) -> None:
    last = folder / "measured/checkpoint-4"
    assert is_weights_only(last)
    assert (last / "model.safetensors").exists()
    assert not [path.name for path in last.iterdir() if path.name.startswith(("optimizer", "scheduler", "rng_state"))]
    more = ("--max-steps", 6, *BATCH, *RANDOM)
    done = run_python(*finetune(folder / "trained", folder / "base", folder / "measured", *more), cwd=folder)
    assert done.returncode == 2
    assert "checkpoint-4 has weights alone (--save-only-model)" in done.stderr.splitlines()[-1]


def test_the_open_loop_error_is_that_of_evaluate(folder: Path, measured: Any) -> None:
    """Which has the weights in bfloat16."""
    last = folder / "measured/checkpoint-4"
    flags = ("--cpu", "--num-gpus", 0, "--import-module", TINY_MODEL, "--json", folder / "evaluation.json")
    done = run_python("-m", "millrace", "evaluate", last, folder / "heldout", *flags)
    assert done.returncode == 0, done.stderr
    total = json.loads((folder / "evaluation.json").read_text())["checkpoints"][0]["total"]
    found = read_heldout(last)
    assert found is not None
    np.testing.assert_allclose((found.mse, found.mae), (total["mse"], total["mae"]), rtol=0.02)
    np.testing.assert_allclose(found.deciding_error, total["range_mse"], rtol=0.02)
    assert total["num_moving"] == sum(episode.num_moving for episode in found.episodes)


def test_two_workers_with_loaders_measure_what_one_does(folder: Path) -> None:
    one = measure(folder, "one", *BATCH, *STILL, "--state-dropout-prob", 0.5)
    workers = ("--global-batch-size", 4, "--dataloader-num-workers", 1, "--num-gpus", 2)
    two = measure(folder, "two", *workers, *STILL)
    assert two.key == one.key
    np.testing.assert_allclose((two.loss, two.mse, two.mae), (one.loss, one.mse, one.mae), rtol=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(folder: Path) -> None:
    """Not only at the next line of the log, and without a checkpoint."""
    wild = (
        "--learning-rate",
        1e18,
        "--warmup-ratio",
        0.0,
        "--max-steps",
        50,
        "--save-steps",
        50,
        "--logging-steps",
        50,
    )
    command = finetune(folder / "trained", folder / "base", folder / "diverged", *BATCH, *wild)
    done = run_python(*command, cwd=folder)
    assert done.returncode == 1
    assert re.search(r"step \d+: the loss is (nan|inf): training has diverged", done.stderr)
    assert complete_checkpoints(folder / "diverged") == []
