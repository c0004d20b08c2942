"""Ray Train's part of a run: two gloo workers, reports, a killed worker, resuming. GR00T is not needed, torch is.

All runs share one Ray.
"""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.engine.execution.ray_session import ray_session
from millrace.train.errors import GpuMissing, OtherRun, TrainingFailed, TrainingStopped, WeightsDiverged, WorldMismatch
from millrace.train.run_folder import checkpoint_step, complete_checkpoints
from millrace.train.train_progress import Failed, MeterReading, Saved, Started

torch = pytest.importorskip("torch", reason="NOT TESTED: Ray Train needs torch: pip install '.[train]'")

from millrace.train.finetune import ENVIRONMENT  # noqa: E402
from millrace.train.worker import Worker  # noqa: E402
from support.ray_runs import IDENTITY, events, run, settings_for, wait_for_checkpoint  # noqa: E402
from support.small_training import train_apart, train_from_loader  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers inherit the environment, not this process's sys.path.
        patch.setenv("PYTHONPATH", str(REPOSITORY / "tests"), prepend=os.pathsep)
        with ray_session(2, None, environment=ENVIRONMENT):
            yield


def kill_rank_1_after(folder: Path, step: int) -> None:
    """Send SIGKILL to the process of rank 1 as soon as the checkpoint of a step is complete."""
    wait_for_checkpoint(folder, step)
    os.kill(events(folder, Started)[0].workers[1].pid, signal.SIGKILL)


def terminate_after(folder: Path, step: int) -> None:
    """Send SIGTERM to this process as soon as the checkpoint of a step is complete."""
    wait_for_checkpoint(folder, step)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run of which a worker was killed once, and what the terminal showed."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    killer = threading.Thread(target=kill_rank_1_after, args=(folder, 2), daemon=True)
    killer.start()
    shown = run(settings_for(folder, max_failures=1))
    killer.join(timeout=5)
    assert not killer.is_alive()
    return folder, shown


def test_a_killed_worker_resumes_from_the_newest_complete_checkpoint(killed: tuple[Path, str]) -> None:
    folder, shown = killed
    first, second = events(folder, Started)
    assert (first.step, second.step) == (0, 2)
    assert first.workers[1].pid != second.workers[1].pid
    after = [event.step for event in events(folder, MeterReading) if event.time > second.time]
    assert after == [3, 4, 5, 6]
    assert "resuming at step 2 of 6 with 2 worker(s)" in shown


def test_a_restart_says_why(killed: tuple[Path, str]) -> None:
    folder, shown = killed
    (failed,) = events(folder, Failed)
    assert failed.step == 2
    assert "its process died: A worker health check failed" not in failed.line
    assert "worker 1: its process died: " in failed.line
    lines = shown.splitlines()
    told = [line for line in lines if line.startswith("failed: ")]
    assert told == [f"failed: {failed.line}; restart 1 of 1"]
    assert lines.index(told[0]) < lines.index("resuming at step 2 of 6 with 2 worker(s)")


def test_an_error_of_a_loader_process_is_told_by_its_last_line_and_logged_in_full(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    video = folder / "episode_000003.mp4"
    with pytest.raises(TrainingFailed) as caught:
        run(settings_for(folder), train_from_loader)
    told = f"{folder}, episode 3: camera top: {video} is gone"
    assert str(caught.value).startswith(f"worker 0: loader process 0: {told} (all of it in {folder / 'logs'})")
    (failed,) = events(folder, Failed)
    assert failed.line == f"worker 0: loader process 0: {told}"
    log = (folder / "logs/rank-0.log").read_text()
    assert "FileNotFoundError: [Errno 2] No such file or directory: " in log
    assert "in train_from_loader" in log
    assert "small_training.py" in log


def test_checkpoints_are_reported_in_place_once_they_are_complete(killed: tuple[Path, str]) -> None:
    folder, shown = killed
    assert [path.name for path in complete_checkpoints(folder)] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    results = json.loads((folder / "checkpoint_manager_snapshot.json").read_text())["checkpoint_results"]
    last = results[-1]
    assert last["checkpoint_dir_name"] == "checkpoint-6"
    assert last["metrics"]["step"] == 6
    assert last["metrics"]["first_step"] == 2
    assert f"saved {folder / 'checkpoint-6'}" in shown.splitlines()
    assert [event.step for event in events(folder, Saved)][-1] == 6


def test_every_worker_tells_how_long_it_waited_for_data(killed: tuple[Path, str]) -> None:
    folder, shown = killed
    for reading in events(folder, MeterReading):
        assert len(reading.ranks) == 2
        assert 0 < reading.data_wait_share <= 1
        assert reading.samples_per_second > 0
    assert events(folder, MeterReading)[-1].line in shown.splitlines()
    assert "waiting for data" in shown


@dataclass(frozen=True)
class LaterRuns:
    """What more runs showed or failed with, all in one session of Ray."""

    stopped: TrainingStopped
    stopped_step: int
    continued: str
    done: str
    apart: TrainingFailed
    diverged: TrainingFailed
    without_gpus: GpuMissing | None


@pytest.fixture(scope="module")
def later(killed: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> LaterRuns:
    folder, _ = killed
    apart, diverged = tmp_path_factory.mktemp("runs") / "apart", tmp_path_factory.mktemp("runs") / "diverged"
    # Cut short while it was written: newer than all others, and not to be used.
    (folder / "checkpoint-7").mkdir()
    killer = threading.Thread(target=terminate_after, args=(folder, 8), daemon=True)
    killer.start()
    with ray_session(2, None):
        with pytest.raises(TrainingStopped) as stopped:
            run(settings_for(folder, max_steps=60, save_total_limit=2))
        last = checkpoint_step(complete_checkpoints(folder)[-1])
        settings = settings_for(folder, max_steps=last + 2, save_steps=last + 2, save_total_limit=2)
        continued, done = run(settings), run(settings)
        with pytest.raises(TrainingFailed) as failed:
            run(settings_for(apart), train_apart)
        assert not complete_checkpoints(apart)
        with pytest.raises(TrainingFailed) as lost:
            run(settings_for(diverged, learning_rate=1e30))
        assert not complete_checkpoints(diverged)
        if torch.cuda.is_available():
            return LaterRuns(stopped.value, last, continued, done, failed.value, lost.value, None)
        with pytest.raises(GpuMissing) as missing:
            run(replace(settings_for(apart), cpu=False))
    return LaterRuns(stopped.value, last, continued, done, failed.value, lost.value, missing.value)


@pytest.mark.cluster
def test_sigterm_saves_a_checkpoint_of_all_workers(killed: tuple[Path, str], later: LaterRuns) -> None:
    folder, _ = killed
    assert [event.step for event in events(folder, Started)][2] == 6
    assert 8 < later.stopped_step < 60
    where = f"{folder / f'checkpoint-{later.stopped_step}'} is complete, and the same command resumes from it"
    assert str(later.stopped) == f"stopped at step {later.stopped_step} of 60: {where}"


@pytest.mark.cluster
def test_the_same_command_resumes_and_then_has_nothing_to_do(killed: tuple[Path, str], later: LaterRuns) -> None:
    folder, _ = killed
    first, last = later.stopped_step, later.stopped_step + 2
    assert f"resuming at step {first} of {last} with 2 worker(s)" in later.continued
    assert complete_checkpoints(folder) == [folder / f"checkpoint-{first}", folder / f"checkpoint-{last}"]
    assert later.done == ""


def test_another_horizon_in_the_same_folder_is_an_error(killed: tuple[Path, str]) -> None:
    folder, _ = killed
    other = IDENTITY.model_copy(update={"action_horizon": 30})
    with pytest.raises(
        OtherRun, match=r"killed was created with action horizon 16, not 30\. Choose another output_dir"
    ):
        run(settings_for(folder, max_steps=100), identity=other)


@pytest.mark.cluster
def test_workers_that_train_apart_are_an_error(later: LaterRuns) -> None:
    """And a failure without restarts left tells which workers said what."""
    assert "worker 0, 1: the weights of worker(s) 1 are not those of worker 0" in str(later.apart)


@pytest.mark.cluster
def test_a_run_that_diverges_ends_at_its_next_line_of_the_log(later: LaterRuns) -> None:
    """Not only at its next checkpoint, which it would not write."""
    assert "step 2: the loss is inf: training has diverged. The same command resumes" in str(later.diverged)


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path: Path) -> None:
    worker = Worker(0, 1, tmp_path, None, settings_for(tmp_path), lambda metrics, checkpoint: None)
    (tmp_path / "checkpoint-2").mkdir()
    with pytest.raises(WeightsDiverged, match="no finite numbers any more"):
        worker.save(tmp_path / "checkpoint-2", [torch.ones(3), torch.tensor([1.0, float("nan")])], None)
    assert not complete_checkpoints(tmp_path)
    worker.save(tmp_path / "checkpoint-2", [torch.ones(3), torch.tensor([1.0, 2.0]).bfloat16()], None)
    assert complete_checkpoints(tmp_path)


def test_one_worker_trains_in_this_process(tmp_path: Path) -> None:
    shown = run(replace(settings_for(tmp_path), num_gpus=0))
    assert [worker.pid for worker in events(tmp_path, Started)[0].workers] == [os.getpid()]
    assert "starting at step 0 of 6 with 1 worker(s)" in shown


def test_a_trainer_that_overlooks_the_other_workers_is_an_error(tmp_path: Path) -> None:
    """What accelerate does on CPUs where it is not told to use them."""
    worker = Worker(1, 2, tmp_path, None, settings_for(tmp_path), lambda metrics, checkpoint: None)
    worker.check_world(2)
    with pytest.raises(WorldMismatch, match="the trainer counts 1 processes, the process group 2"):
        worker.check_world(1)


def test_a_process_group_of_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorldMismatch, match="the process group has 1 workers, not 2"):
        Worker.join(settings_for(tmp_path), tmp_path, lambda metrics, checkpoint: None)


def test_workers_have_time_to_start(killed: tuple[Path, str]) -> None:
    """Two of them took 110 s on two cores, and Ray's default is 60."""
    assert float(os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"]) >= 300


@pytest.mark.cluster
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPUs")
def test_gpus_that_are_not_there_are_an_error(later: LaterRuns) -> None:
    assert re.search(r"--num-gpus 2: Ray sees 0 GPUs.*--cpu", str(later.without_gpus))
