"""Runs of the small model through Ray Train, for the tests that share one Ray or a cluster."""

import io
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from millrace.train.finetune import finetune
from millrace.train.run_identity import RunIdentity
from millrace.train.settings import FinetuneSettings
from support.small_training import train_small
from support.train_log import read_events

IDENTITY = RunIdentity(
    base_model="base",
    datasets=("out/a",),
    digests=("0" * 64,),
    embodiment_tag="NEW_EMBODIMENT",
    robot="gr1",
    action_horizon=16,
    modality_keys=("state.left_arm",),
)


def settings_for(folder: Path, **flags: Any) -> FinetuneSettings:
    """Two workers on CPUs, six steps, a checkpoint every second one, unless the flags say otherwise."""
    defaults: dict[str, Any] = {"cpu": True, "num_gpus": 2, "max_steps": 6, "save_steps": 2, "learning_rate": 0.05}
    return FinetuneSettings(datasets=(folder,), base_model_path="base", output_dir=folder, **{**defaults, **flags})


def run(settings: FinetuneSettings, training: Any = train_small, identity: RunIdentity = IDENTITY) -> str:
    """Train; returns what the terminal showed."""
    shown = io.StringIO()
    finetune(settings, identity, training, Console(file=shown, width=40))
    return shown.getvalue()


def events(folder: Path, kind: type) -> list[Any]:
    """The events of that kind in the run's log."""
    return [event for event in read_events(folder) if isinstance(event, kind)]


def wait_for_checkpoint(folder: Path, step: int) -> None:
    """Until the checkpoint of a step is complete."""
    while not (folder / f"checkpoint-{step}" / "COMPLETE").exists():
        time.sleep(0.02)
