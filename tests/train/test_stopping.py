"""SIGINT and SIGTERM: the first saves and stops, a second one ends at once. GR00T and Ray are not needed, torch is."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch: pip install '.[train]'")

from millrace.train.errors import SettingsError, TrainingStopped  # noqa: E402
from millrace.train.finetune import finetune  # noqa: E402
from millrace.train.run_folder import checkpoint_step, newest_checkpoint  # noqa: E402
from millrace.train.settings import FinetuneSettings  # noqa: E402
from millrace.train.stopping import (  # noqa: E402
    NOTICE,
    StopListener,
    ignore_interrupts,
    is_stop_requested,
    request_stop,
    stop_on_signals,
)
from support.ray_runs import IDENTITY  # noqa: E402
from support.small_training import train_small  # noqa: E402

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def run(folder: Path, **flags: Any) -> str:
    """Train in this process; returns what the terminal showed."""
    defaults: dict[str, Any] = {"cpu": True, "num_gpus": 0, "save_steps": 2, "learning_rate": 0.05}
    settings = FinetuneSettings(datasets=(folder,), base_model_path="base", output_dir=folder, **{**defaults, **flags})
    shown = io.StringIO()
    try:
        finetune(settings, IDENTITY, train_small, Console(file=shown, width=40))
    finally:
        (folder / "shown.txt").write_text(shown.getvalue())
    return shown.getvalue()


def send_after(folder: Path, step: int, by: signal.Signals) -> None:
    """Signal this process as soon as the checkpoint of a step is complete."""
    while not (folder / f"checkpoint-{step}" / "COMPLETE").exists():
        time.sleep(0.02)
    os.kill(os.getpid(), by)


@pytest.mark.parametrize("by", SIGNALS, ids=lambda by: by.name)
def test_a_signal_saves_a_checkpoint_from_which_the_same_command_resumes(tmp_path: Path, by: signal.Signals) -> None:
    threading.Thread(target=send_after, args=(tmp_path, 2, by), daemon=True).start()
    with pytest.raises(TrainingStopped) as stopped:
        run(tmp_path, max_steps=60)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    step = checkpoint_step(newest)
    assert 2 < step < 60
    assert str(stopped.value) == (
        f"stopped at step {step} of 60: {newest} is complete, and the same command resumes from it"
    )
    assert stopped.value.exit_code == 130
    assert NOTICE in (tmp_path / "shown.txt").read_text().splitlines()
    assert f"resuming at step {step} of {step + 1} with 1 worker(s)" in run(tmp_path, max_steps=step + 1)


def test_a_checkpoint_of_weights_alone_is_not_resumed_from(tmp_path: Path) -> None:
    run(tmp_path, max_steps=2)
    (tmp_path / "checkpoint-2/WEIGHTS_ONLY").touch()
    with pytest.raises(SettingsError, match=r"checkpoint-2 has weights alone .* pass --base-model-path .*checkpoint-2"):
        run(tmp_path, max_steps=4)
    assert run(tmp_path, max_steps=2) == ""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[list[str]]:
    lines: list[str] = []
    with stop_on_signals(tmp_path, lines.append):
        yield lines


@pytest.mark.parametrize("by", SIGNALS, ids=lambda by: by.name)
def test_a_second_signal_ends_the_run_at_once(tmp_path: Path, told: list[str], by: signal.Signals) -> None:
    listener = StopListener(tmp_path)
    assert not listener.must_stop()
    signal.raise_signal(by)
    assert told == [NOTICE]
    assert is_stop_requested(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(by)


def test_a_run_that_has_nothing_to_save_ends_at_once(tmp_path: Path, told: list[str]) -> None:
    """While the model is loaded, or while Ray waits for machines."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert told == []


def test_workers_that_start_again_stop_as_well(tmp_path: Path, told: list[str]) -> None:
    StopListener(tmp_path)
    request_stop(tmp_path)
    assert StopListener(tmp_path).must_stop()


def test_a_stopped_run_does_not_stop_the_next_one(tmp_path: Path) -> None:
    request_stop(tmp_path)
    before = [signal.getsignal(by) for by in SIGNALS]
    with stop_on_signals(tmp_path, lambda line: None):
        assert not StopListener(tmp_path).must_stop()
    assert [signal.getsignal(by) for by in SIGNALS] == before


def test_loader_processes_outlive_the_ctrl_c_that_all_processes_get(tmp_path: Path) -> None:
    samples = torch.arange(64)
    loader = torch.utils.data.DataLoader(
        samples, num_workers=1, worker_init_fn=ignore_interrupts, multiprocessing_context="forkserver"
    )
    batches = iter(loader)
    found = [next(batches).item()]
    (process,) = batches._workers
    os.kill(process.pid, signal.SIGINT)
    found += [batch.item() for batch in batches]
    assert found == samples.tolist()
