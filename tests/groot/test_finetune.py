"""`millrace finetune` end to end: GR00T's own processor, datasets, action head and trainer, with a tiny backbone."""

import json
import math
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import PRETRAINED, WHY_NOT, command, finetune, run_python, write_base

from conftest import convert_here, read_meta
from millrace.train.run_folder import checkpoint_step, complete_checkpoints, newest_checkpoint
from millrace.train.train_progress import MeterReading, Started
from support.synthetic import write_dataset
from support.train_log import read_events

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

LENGTHS = (150, 150, 150)  # at 50 Hz; three chunks of 16 steps at 20 Hz, and room
CHECKPOINT_FILES = (
    "COMPLETE",
    "config.json",
    "embodiment_id.json",
    "experiment_cfg/conf.yaml",
    "experiment_cfg/config.yaml",
    "experiment_cfg/dataset_statistics.json",
    "experiment_cfg/millrace_frames.json",
    "model.safetensors",
    "optimizer.pt",
    "processor_config.json",
    "scheduler.pt",
    "statistics.json",
    "trainer_state.json",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groot") / "source"
    write_dataset(folder, lengths=LENGTHS)
    return folder


@pytest.fixture(scope="module")
def dataset(source: Path) -> Path:
    convert_here(source, source.parent / "gr1")
    return source.parent / "gr1"


@pytest.fixture(scope="module")
def base(dataset: Path) -> Path:
    write_base(dataset / "modality_config.py", dataset.parent / "base")
    return dataset.parent / "base"


HERE = ("--num-gpus", 0, "--embodiment-tag", "GR1", "--max-steps", 2, "--save-steps", 1, "--save-total-limit", 1)
BATCH = ("--global-batch-size", 4, "--gradient-accumulation-steps", 2, "--dataloader-num-workers", 1)


@pytest.fixture(scope="module")
def trained_here(dataset: Path, base: Path) -> "tuple[Path, subprocess.CompletedProcess[str]]":
    """A run of two steps in one process, under the tag GR1, and its folder."""
    out = dataset.parent / "trained_here"
    loggers = ("--tensorboard", "--use-wandb")
    environment = os.environ | {"WANDB_MODE": "offline"}
    done = run_python(*finetune(dataset, base, out, *HERE, *BATCH, *loggers), cwd=dataset.parent, env=environment)
    assert done.returncode == 0, done.stderr
    return out, done


def test_a_run_ends_with_a_checkpoint_that_stands_alone(trained_here: Any) -> None:
    out, done = trained_here
    assert done.stdout == f"trained: {out / 'checkpoint-2'}\n"
    assert [path.name for path in sorted(out.glob("checkpoint-*"))] == ["checkpoint-2"]
    assert [name for name in CHECKPOINT_FILES if not (out / "checkpoint-2" / name).exists()] == []
    assert list((out / "runs").glob("events.out.tfevents.*"))
    assert list((out / "wandb").glob("offline-run-*/*.wandb"))


def test_the_terminal_shows_progress_and_none_of_the_libraries_chatter(trained_here: Any) -> None:
    out, done = trained_here
    told = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    readings = [event for event in read_events(out) if isinstance(event, MeterReading)]
    assert [reading.step for reading in readings] == [1, 2]
    assert 0 < readings[1].data_wait_share < 1
    assert told[:5] == [
        "starting at step 0 of 2 with 1 worker(s)",
        readings[0].line,
        f"saved {out / 'checkpoint-1'}",
        readings[1].line,
        f"saved {out / 'checkpoint-2'}",
    ]
    assert all(reading.grad_norm > 0 for reading in readings)
    summary, verdict, plot = told[5:]
    assert re.match(r"2 of 2 steps, 0:\d\d:\d\d of training; loss ", summary)
    assert verdict.startswith("waiting for data ")
    assert plot == f"losses: {out / 'losses.png'}"
    assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "Creating custom train dataloader" in (out / "logs/rank-0.log").read_text()


def test_steps_are_dealt_into_shards_once(trained_here: Any) -> None:
    """GR00T's own datasets, which print this, are not made beside ours."""
    out, _ = trained_here
    assert "Generated" not in (out / "logs/rank-0.log").read_text()


def test_gr1_is_normalised_by_the_datasets_statistics_not_the_base_models(trained_here: Any, dataset: Path) -> None:
    out, _ = trained_here
    saved = json.loads((out / "checkpoint-2/statistics.json").read_text())["gr1"]["state"]["left_arm"]
    arm = read_meta(dataset, "modality.json")["state"]["left_arm"]
    own = read_meta(dataset, "stats.json")["observation.state"]
    for name in ("min", "max", "mean"):
        np.testing.assert_allclose(saved[name], own[name][arm["start"] : arm["end"]], rtol=1e-6)
        assert saved[name] != PRETRAINED[name]


def test_the_global_batch_is_divided_by_accumulation_too(trained_here: Any) -> None:
    out, _ = trained_here
    state = json.loads((out / "checkpoint-2/trainer_state.json").read_text())
    assert state["train_batch_size"] * 2 == 4


def test_losses_are_those_with_gr00ts_own_loader(trained_here: Any, dataset: Path, base: Path) -> None:
    """To the last digit; the tiny model sees the mean colour of every image."""
    out = dataset.parent / "by_stock"
    done = run_python(*finetune(dataset, base, out, *HERE, *BATCH, "--stock-loader"))
    assert done.returncode == 0, done.stderr
    of_stock, of_ours = (
        [event.loss for event in read_events(folder) if isinstance(event, MeterReading)]
        for folder in (out, trained_here[0])
    )
    assert len(of_stock) == 2
    assert of_stock == of_ours


def test_another_tag_dataset_and_horizon_in_its_folder_are_named(trained_here: Any, source: Path, base: Path) -> None:
    out, _ = trained_here
    other = source.parent / "other"
    convert_here(source, other, horizon=8)
    done = run_python(*finetune(other, base, out, *BATCH, "--num-gpus", 0))
    assert done.returncode == 1
    told, remedy = done.stderr.splitlines()[-2:]
    assert f"{out} was created with dataset {source.parent / 'gr1'} (" in told
    assert told.endswith("embodiment tag GR1, not NEW_EMBODIMENT; action horizon 16, not 8")
    assert remedy.strip().startswith("Choose another --output-dir, or pass --overwrite")


def test_a_sigterm_to_all_processes_of_a_run_saves_a_checkpoint(dataset: Path, base: Path) -> None:
    """As Slurm sends it: the loader and the server of loaders end at once."""
    out = dataset.parent / "terminated"
    flags = ("--num-gpus", 0, "--embodiment-tag", "GR1", "--max-steps", 5000, "--save-steps", 5)
    begun = command(*finetune(dataset, base, out, *flags, *BATCH))
    with subprocess.Popen(begun, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: newest_checkpoint(out) is not None, process)
        os.killpg(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    step = newest_step(out)
    where = f"{out / f'checkpoint-{step}'} is complete, and the same command resumes from it"
    assert told.splitlines()[-1] == f"stopped at step {step} of 5000: {where}"


RAY = ("--num-gpus", 2, "--global-batch-size", 8, "--dataloader-num-workers", 1, "--max-failures", 1)
RAY = (*RAY, "--max-steps", 60, "--save-steps", 20)


# Notes in a file of each rank what Python opens for writing in the run's folder.
AUDIT = """
import os, sys
from pathlib import Path
NOTES = Path(__file__).parent / f"writes-{os.environ['RANK']}.txt"
def note(event, arguments):
    if event == "open" and "/on_ray/" in str(arguments[0]) and arguments[2] & os.O_ACCMODE != os.O_RDONLY:
        with NOTES.open("a") as file:
            file.write(f"{arguments[0]}\\n")
NOTES.touch()
sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def ray_command(dataset: Path, base: Path) -> list[str]:
    audit = dataset.parent / "audit_writes.py"
    audit.write_text(AUDIT)
    return command(*finetune(dataset, base, dataset.parent / "on_ray", *RAY, "--import-module", audit))


@pytest.fixture(scope="module")
def stopped(dataset: Path, ray_command: list[str]) -> tuple[Path, int, str]:
    """The folder of two workers stopped by Ctrl-C after the first checkpoint, the exit code, and standard error."""
    out = dataset.parent / "on_ray"
    with subprocess.Popen(ray_command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: newest_checkpoint(out) is not None, process)
        os.killpg(process.pid, signal.SIGINT)  # to all processes, as a terminal sends it
        _, told = process.communicate(timeout=120)
    return out, process.returncode, told


@pytest.fixture(scope="module")
def resumed(stopped: tuple[Path, int, str], ray_command: list[str]) -> Path:
    """The same command again, of which a worker is killed after another checkpoint."""
    out = stopped[0]
    first = newest_step(out)
    with subprocess.Popen(ray_command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: newest_step(out) > first, process)
        os.kill(starts(out)[-1].workers[1].pid, signal.SIGKILL)
        _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    return out


def wait_until(is_true: Any, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 400
    while not is_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def newest_step(out: Path) -> int:
    newest = newest_checkpoint(out)
    return checkpoint_step(newest) if newest else 0


def starts(out: Path) -> list[Started]:
    return [event for event in read_events(out) if isinstance(event, Started)]


def test_ctrl_c_ends_all_workers_and_leaves_what_can_be_resumed(stopped: tuple[Path, int, str]) -> None:
    out, returncode, told = stopped
    assert returncode == 130
    step = newest_step(out)
    assert 20 < step < 60
    where = (
        f"stopped at step {step} of 60: {out / f'checkpoint-{step}'} is complete, and the same command resumes from it"
    )
    assert told.splitlines()[-1] == where
    assert "Traceback" not in told
    processes = [Path(f"/proc/{worker.pid}") for worker in starts(out)[0].workers]
    deadline = time.monotonic() + 20
    while any(process.exists() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_same_command_resumes_and_so_does_a_killed_worker(resumed: Path) -> None:
    first, second, third = starts(resumed)
    assert first.step == 0
    assert 20 < second.step < third.step < 60
    assert third.workers[1].pid != second.workers[1].pid
    readings = [event for event in read_events(resumed) if isinstance(event, MeterReading) and event.time > third.time]
    assert [reading.step for reading in readings] == list(range(third.step + 1, 61))
    assert all(math.isfinite(reading.loss) and len(reading.ranks) == 2 for reading in readings)


def test_every_checkpoint_of_two_workers_stands_alone(resumed: Path) -> None:
    # That both workers hold the same weights is checked before a checkpoint is marked complete.
    checkpoints = complete_checkpoints(resumed)
    assert [checkpoint_step(path) for path in checkpoints] == sorted({20, 40, 60, starts(resumed)[1].step})
    missing = [path / name for path in checkpoints for name in CHECKPOINT_FILES if not (path / name).exists()]
    assert missing == []
    assert json.loads((checkpoints[-1] / "trainer_state.json").read_text())["train_batch_size"] == 4


def test_a_checkpoint_is_complete_last_of_all(resumed: Path) -> None:
    for checkpoint in complete_checkpoints(resumed):
        times = {path: path.stat().st_mtime_ns for path in checkpoint.rglob("*") if path.is_file()}
        assert max(times, key=lambda path: times[path]).name == "COMPLETE"


def test_rank_0_alone_writes_config_and_processor(resumed: Path) -> None:
    first, second = (
        {Path(line) for line in (resumed.parent / f"writes-{rank}.txt").read_text().splitlines()} for rank in (0, 1)
    )
    written = ("experiment_cfg/config.yaml", "experiment_cfg/dataset_statistics.json", "processor/statistics.json")
    assert {resumed / name for name in written} <= first
    assert {path.name for path in second} <= {"rng_state_1.pth", "rank-1.log"}
