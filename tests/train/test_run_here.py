"""What a run does before and after training. GR00T and Ray are not needed, torch is."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch: pip install '.[train]'")

from conftest import REPOSITORY  # noqa: E402
from millrace.commands.finetune_output import train_for_json  # noqa: E402
from millrace.engine.errors import OutputBusy  # noqa: E402
from millrace.train.finetune import Prepare, Training, finetune  # noqa: E402
from millrace.train.run_folder import claim_run_folder  # noqa: E402
from millrace.train.settings import FinetuneSettings  # noqa: E402
from millrace.train.stopping import request_stop  # noqa: E402
from millrace.train.train_progress import MeterReading, read_events  # noqa: E402
from millrace.train.training_dataset import TrainingDataError  # noqa: E402
from millrace.train.worker import Worker  # noqa: E402
from support.ray_runs import IDENTITY  # noqa: E402
from support.small_training import train_small  # noqa: E402

SCHEMA = json.loads((REPOSITORY / "docs" / "errors.schema.json").read_text(encoding="utf-8"))


def run(folder: Path, prepare: Prepare = lambda settings, tell: settings) -> tuple[Path, str]:
    """Train two steps in this process; returns the last checkpoint, and what the terminal showed."""
    settings = FinetuneSettings(
        datasets=(folder,), base_model_path="base", output_dir=folder, cpu=True, num_gpus=0, max_steps=2, save_steps=2
    )
    shown = io.StringIO()
    last = finetune(settings, IDENTITY, train_small, Console(file=shown, width=40), prepare=prepare)
    return last, shown.getvalue()


def test_what_is_done_before_training_is_done_by_one_run_at_a_time_and_not_for_a_finished_one(tmp_path: Path) -> None:
    prepared = []

    def prepare(settings: FinetuneSettings, tell: Callable[[str], None]) -> FinetuneSettings:
        with pytest.raises(OutputBusy), claim_run_folder(tmp_path, IDENTITY, overwrite=False):
            pass
        tell("computing stats.json")
        prepared.append(True)
        return replace(settings, max_steps=4)

    last, shown = run(tmp_path, prepare)
    assert shown.splitlines()[:2] == ["computing stats.json", "starting at step 0 of 4 with 1 worker(s)"]
    assert last == tmp_path / "checkpoint-4"
    run(tmp_path, prepare)
    assert prepared == [True]


def test_a_run_whose_losses_cannot_be_plotted_has_ended_well(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "losses.png").mkdir()
    last, shown = run(tmp_path)
    assert last == tmp_path / "checkpoint-2"
    assert shown.splitlines()[-1].startswith("warning: losses are not plotted: IsADirectoryError: ")


def settings_of(folder: Path) -> FinetuneSettings:
    """A run of the small training, in this process."""
    return FinetuneSettings(
        datasets=(folder,), base_model_path="base", output_dir=folder, cpu=True, num_gpus=0, max_steps=2, save_steps=1
    )


def train_for(settings: FinetuneSettings, training: Training = train_small) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a run that prints JSON."""
    printed = io.StringIO()

    def train(settings: FinetuneSettings) -> Path:
        return finetune(settings, IDENTITY, training, Console(file=io.StringIO()))

    code = train_for_json(settings, train, {"is_valid": True, "problems": (), "plan": None}, stdout=printed)
    return code, json.loads(printed.getvalue())


def fail(worker: Worker) -> None:
    raise TrainingDataError("episode 3: camera top: no frames")


def stop(worker: Worker) -> None:
    """As a user stops a run after its first step."""
    train_small(replace(worker, settings=replace(worker.settings, max_steps=1)))
    request_stop(worker.folder)


def test_a_run_says_in_json_how_it_ended(tmp_path: Path) -> None:
    code, found = train_for(settings_of(tmp_path))
    run, checkpoints = found["run"], [str(tmp_path / f"checkpoint-{step}") for step in (1, 2)]
    assert (code, found["is_valid"], run["state"], run["step"], run["max_steps"]) == (0, True, "finished", 2, 2)
    assert (run["run_folder"], run["checkpoints"], run["best_checkpoint"]) == (str(tmp_path), checkpoints, None)
    losses = [event.loss for event in read_events(tmp_path) if isinstance(event, MeterReading)]
    assert (run["loss"], run["lowest_loss"]) == (losses[-1], min(losses))
    assert train_for(settings_of(tmp_path)) == (code, found)  # nothing is left to do


def test_a_run_that_failed_or_was_stopped_says_so_in_json(tmp_path: Path) -> None:
    code, found = train_for(settings_of(tmp_path / "failed"), fail)
    jsonschema.validate(found, SCHEMA)
    run = found["run"]
    assert (code, found["error"]["type"], run["state"], run["step"]) == (1, "TrainingDataError", "failed", 0)
    assert (run["checkpoints"], run["loss"]) == ([], None)
    assert "episode 3: camera top: no frames" in found["error"]["message"]
    code, found = train_for(settings_of(tmp_path / "stopped"), stop)
    jsonschema.validate(found, SCHEMA)
    run = found["run"]
    assert (code, found["error"]["type"], run["state"], run["step"]) == (130, "TrainingStopped", "stopped", 1)
    assert run["checkpoints"] == [str(tmp_path / "stopped/checkpoint-1")]


def test_what_keeps_a_run_from_beginning_is_no_result_of_it(tmp_path: Path) -> None:
    with claim_run_folder(tmp_path, IDENTITY, overwrite=False), pytest.raises(OutputBusy):
        train_for(settings_of(tmp_path))
