"""A run by ordinary commands: two gloo workers with two loader processes each, and all that may happen to it.

With -s it prints what the commands print.
"""

import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny import WHY_NOT, command, finetune
from tiny_run import tiny_run

from millrace.train.heldout import find_best
from millrace.train.run_folder import checkpoint_step, complete_checkpoints, newest_checkpoint
from millrace.train.train_progress import Evaluated, Failed, MeterReading, Started
from support.train_log import read_events

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

MAX_STEPS, SAVE_STEPS = 200, 20
WORKERS = ("--num-gpus", 2, "--dataloader-num-workers", 2, "--max-failures", 1)
BATCH = ("--global-batch-size", 4, "--batch", "auto")
STEPS = ("--max-steps", MAX_STEPS, "--save-steps", SAVE_STEPS, "--save-total-limit", 1)
HELD_OUT = ("--eval-samples", 16, "--eval-episodes", 1)
SECONDS = 300


class Run:
    """The run's command, as often as it is started."""

    def __init__(self, dataset: Path, heldout: Path, base: Path, out: Path) -> None:
        self.out = out
        flags = (*WORKERS, *BATCH, *STEPS, "--eval-dataset", heldout, *HELD_OUT)
        self.command = command(*finetune(dataset, base, out, *flags))
        self.returncode, self.lines = 0, list[str]()

    @contextmanager
    def started(self) -> Iterator["subprocess.Popen[str]"]:
        """The command while it runs; at its end `returncode` and the `lines` that it printed are known."""
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
            told, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        self.returncode, self.lines = process.returncode, told.splitlines()
        print(f"\n$ millrace finetune ...\n{told}exit code {self.returncode}")

    def wait_for(self, is_true: Callable[[], Any], process: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + SECONDS
        while not is_true():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for_checkpoint(self, after: int, process: "subprocess.Popen[str]") -> int:
        """The step of the first checkpoint after a step."""
        self.wait_for(lambda: self.newest_step > after, process)
        return self.newest_step

    @property
    def newest_step(self) -> int:
        newest = newest_checkpoint(self.out)
        return 0 if newest is None else checkpoint_step(newest)

    def events(self, kind: type) -> list[Any]:
        return [event for event in read_events(self.out) if isinstance(event, kind)]


def test_a_run_loses_nothing_whatever_happens(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    tiny = tiny_run(tmp_path_factory.getbasetemp())
    dataset = Path(shutil.copytree(tiny.folder / "out/gr1", tmp_path / "dataset"))
    run = Run(dataset, tiny.heldout, tiny.folder / "base", tmp_path / "run")

    # A video is gone midway. The restart meets the same, and the run ends.
    video = min(dataset.rglob("*.mp4"))
    with run.started() as process:
        run.wait_for_checkpoint(0, process)
        video.rename(tmp_path / "elsewhere.mp4")
    assert run.returncode == 1
    told = rf"{dataset}, episode \d: camera ego_view[,:] .*{video}"
    (failed,) = (line for line in run.lines if line.startswith("failed: "))
    assert re.match(rf"failed: worker [01](, 1)?: loader process [01]: {told}.*; restart 1 of 1$", failed)
    # By a loader again, or already by the trial of the batch.
    assert re.match(rf"worker [01](, 1)?: (loader process [01]: )?{told}", run.lines[-1])
    assert run.lines[-1].endswith("The same command resumes")
    assert "batch of 4 = 2 samples a pass x 1 accumulated x 2 worker(s)" in run.lines

    # It is there again: the same command goes on. A worker is killed, and the run says why it restarts.
    (tmp_path / "elsewhere.mp4").rename(video)
    resumed_at, num_failures = run.newest_step, len(run.events(Failed))
    with run.started() as process:
        killed_after = run.wait_for_checkpoint(resumed_at, process)
        os.kill(run.events(Started)[-1].workers[1].pid, signal.SIGKILL)
        run.wait_for(lambda: len(run.events(Failed)) > num_failures, process)
        run.wait_for_checkpoint(run.newest_step, process)
        process.send_signal(signal.SIGTERM)
    assert run.returncode == 130
    assert f"resuming at step {resumed_at} of {MAX_STEPS} with 2 worker(s)" in run.lines
    (failed,) = (line for line in run.lines if line.startswith("failed: "))
    assert re.match(r"failed: worker 1: its process died: .*; restart 1 of 1$", failed)
    restarted_at = run.events(Started)[-1].step
    assert restarted_at >= killed_after
    assert f"resuming at step {restarted_at} of {MAX_STEPS} with 2 worker(s)" in run.lines
    stopped_at = run.newest_step
    where = f"{run.out / f'checkpoint-{stopped_at}'} is complete, and the same command resumes from it"
    assert run.lines[-1] == f"stopped at step {stopped_at} of {MAX_STEPS}: {where}"

    # To the end.
    with run.started():
        pass
    assert run.returncode == 0
    assert f"resuming at step {stopped_at} of {MAX_STEPS} with 2 worker(s)" in run.lines
    assert run.lines[-1] == f"trained: {run.out / f'checkpoint-{MAX_STEPS}'}"
    steps = [event.step for event in run.events(MeterReading) if event.time > run.events(Started)[-1].time]
    assert steps == list(range(stopped_at + 1, MAX_STEPS + 1))

    # Held-out losses at every checkpoint, and the best of them is kept beside the newest.
    measured = {event.step: event.heldout for event in run.events(Evaluated)}
    assert set(measured) == set(range(SAVE_STEPS, MAX_STEPS + 1, SAVE_STEPS))
    assert all(math.isfinite(found.loss) and found.range_error is not None for found in measured.values())
    kept = complete_checkpoints(run.out)
    best = find_best(kept)
    assert best is not None
    assert checkpoint_step(best.checkpoint) == min(
        sorted(measured)[::-1], key=lambda step: measured[step].deciding_error
    )
    assert {checkpoint_step(path) for path in kept} == {checkpoint_step(best.checkpoint), MAX_STEPS}
    assert any(line.startswith(f"best by {best.heldout.rule}: {best.checkpoint}") for line in run.lines)
