"""Two gloo workers with two loader processes each: rows in Weights & Biases, and a video that goes away midway."""

import json
import os
import re
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tiny import WHY_NOT, command, finetune
from tiny_run import tiny_run

from millrace.train.run_folder import checkpoint_step, newest_checkpoint
from millrace.train.train_progress import Failed, MeterReading
from support.train_log import read_events
from support.wandb_files import config, exit_codes, read_starts, rows, run_ids

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="NOT TESTED: wandb is not importable")

FLAGS = ("--num-gpus", 2, "--dataloader-num-workers", 2, "--global-batch-size", 4, "--save-steps", 2)
OFFLINE = {"WANDB_MODE": "offline"}


def arguments(dataset: Path, base: Path, out: Path, max_steps: int) -> list[str]:
    loggers = ("--use-wandb",) if find_spec("wandb") else ()
    return command(*finetune(dataset, base, out, *FLAGS, *loggers, "--max-steps", max_steps))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A dataset, the base model, and the folder of a run of four steps that ended well."""
    run = tiny_run(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("failures")
    dataset = Path(shutil.copytree(run.folder / "out/gr1", folder / "dataset"))
    paths = dataset, run.folder / "base", folder / "run"
    done = subprocess.run(arguments(*paths, 4), capture_output=True, text=True, env=os.environ | OFFLINE, timeout=600)
    assert done.returncode == 0, done.stderr
    return paths


@pytest.fixture(scope="module")
def broken(trained: tuple[Path, Path, Path]) -> tuple[Path, Path, int, str]:
    """Dataset and folder of the run, resumed, whose videos are deleted midway; its exit code and standard error."""
    dataset, _, out = trained
    with subprocess.Popen(
        arguments(*trained, 2000), stderr=subprocess.PIPE, text=True, env=os.environ | OFFLINE
    ) as process:
        deadline = time.monotonic() + 400
        while checkpoint_step(newest_checkpoint(out) or Path("checkpoint-0")) < 6:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shutil.rmtree(dataset / "videos")
        _, told = process.communicate(timeout=400)
    return dataset, out, process.returncode, told


def test_the_terminal_names_dataset_episode_camera_and_file(broken: tuple[Path, Path, int, str]) -> None:
    dataset, _, returncode, told = broken
    assert returncode == 1
    last = told.splitlines()[-1]
    found = re.search(
        rf"worker [01]: loader process [01]: {dataset}, episode (\d): camera ego_view[,:] .*"
        rf"({dataset}/videos/\S+/episode_00000\1\.mp4)",
        last,
    )
    assert found, told
    assert "Traceback" not in told


def test_the_logs_have_the_whole_traceback(broken: tuple[Path, Path, int, str]) -> None:
    _, out, _, told = broken
    (failed,) = (event for event in read_events(out) if isinstance(event, Failed))
    assert failed.line in told
    for failure in failed.failures:
        log = (out / f"logs/rank-{failure.rank}.log").read_text()
        message = failure.message.partition(": ")[2]
        assert "Traceback (most recent call last):" in log
        assert "in get_shard" in log
        assert message in log


@needs_wandb
def test_wandb_has_every_row_the_config_and_the_end(trained: tuple[Path, Path, Path]) -> None:
    dataset, _, out = trained
    first = read_starts(out)[0]
    steps = [row["train/global_step"] for row in rows(first) if "train/loss" in row]
    assert steps == [1, 2, 3, 4]
    readings = [event for event in read_events(out) if isinstance(event, MeterReading)]
    assert [row["train/loss"] for row in rows(first) if "train/loss" in row] == [one.loss for one in readings[:4]]
    assert exit_codes(first) == [0]
    found = config(first)
    assert found["data"]["shard_size"] == 8
    assert found["training"]["max_steps"] == 4
    assert found["model"]["tune_projector"] is True
    assert found["millrace"]["datasets"] == [str(dataset)]
    assert found["millrace"]["dataloader_num_workers"] == 2


@needs_wandb
def test_a_resumed_run_is_the_same_run_of_wandb(trained: tuple[Path, Path, Path], broken: Any) -> None:
    out = trained[2]
    starts = read_starts(out)
    assert len(starts) == 2
    assert run_ids(starts) == {json.loads((out / "wandb_config.json").read_text())["id"]}
