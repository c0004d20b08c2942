"""What a run ends with: its losses, the best checkpoint, and whether it waited for data."""

from pathlib import Path

import pytest

from millrace.train.heldout import HeldOut, write_heldout
from millrace.train.loss_plot import draw_losses
from millrace.train.run_folder import mark_complete
from millrace.train.run_summary import Loaders, WaitingWatch, judge_waiting, summarize_run
from millrace.train.train_progress import Evaluated, MeterReading, Share, Started, WorkerProcess, append_event

LOADERS = Loaders(2, 8)


def started(step: int, *, time: float) -> Started:
    return Started(time=time, step=step, max_steps=40, workers=(WorkerProcess(rank=0, host="a", pid=1),))


def reading(step: int, loss: float, *, wait: float = 0.0, time: float = 0.0) -> MeterReading:
    return MeterReading(
        time=time,
        step=step,
        max_steps=40,
        loss=loss,
        learning_rate=1e-4,
        samples_per_second=10.0,
        seconds_left=0.0,
        ranks=(Share(data_wait_share=0.0, gpu_memory_bytes=None), Share(data_wait_share=wait, gpu_memory_bytes=None)),
    )


def log(folder: Path, *events: Started | MeterReading | Evaluated) -> None:
    for event in events:
        append_event(folder, event)


@pytest.mark.parametrize(
    ("wait", "loaders", "told"),
    [
        (0.03, LOADERS, "waiting for data 3%: the loaders keep up"),
        (0.4, LOADERS, "waiting for data 40%: raise --dataloader-num-workers to 4"),
        (0.4, Loaders(2, 3), "waiting for data 40%: raise --dataloader-num-workers to 3"),
        (0.4, Loaders(0, None), "waiting for data 40%: raise --dataloader-num-workers to 2"),
        (1.0, Loaders(2, None), "waiting for data 100%: raise --dataloader-num-workers to 40"),
        (0.4, Loaders(2, 2), "waiting for data 40%, and the 2 loaders of a worker use all of its 2 cores: train on"),
    ],
)
def test_starvation_is_told_in_words_with_a_remedy(wait: float, loaders: Loaders, told: str) -> None:
    assert judge_waiting([reading(step, 1.0, wait=wait) for step in range(5)], loaders).startswith(told)


def test_a_model_that_waits_is_told_of_during_the_run_every_five_minutes() -> None:
    watch = WaitingWatch(LOADERS)
    waits = {60: 1.0, 120: 1.0, 180: 0.4, 240: 0.4, 300: 0.4, 360: 0.05, 600: 0.05, 700: 0.5, 960: 0.5, 1600: 1.0}
    told = {0: watch.judge(started(0, time=0))}
    for time, wait in waits.items():
        told[time] = watch.judge(reading(time // 40, 1.0, wait=wait, time=time))
    # The first two readings are of loaders that fill up; what ends the run is left to the summary.
    assert {time: line for time, line in told.items() if line is not None} == {
        300: "waiting for data 40%: raise --dataloader-num-workers to 4",
        960: "waiting for data 50%: raise --dataloader-num-workers to 4",
    }


def test_after_a_restart_the_minutes_count_from_there() -> None:
    watch = WaitingWatch(LOADERS)
    events = (started(0, time=0), reading(1, 1.0, wait=0.5, time=290), started(1, time=1000))
    assert [watch.judge(event) for event in events] == [None, None, None]
    assert watch.judge(reading(2, 1.0, wait=0.5, time=1010)) is None
    assert watch.judge(reading(3, 1.0, wait=0.5, time=1299)) is None
    assert watch.judge(reading(4, 1.0, wait=0.2, time=1301)) is not None


def test_steps_that_were_trained_again_count_once(tmp_path: Path) -> None:
    log(
        tmp_path,
        started(0, time=100),
        reading(10, 3.0, time=110),
        reading(20, 0.5, time=120),
        reading(30, 0.4, time=130),
    )
    log(tmp_path, started(10, time=1000), reading(20, 1.0, time=1010), reading(40, 2.0, time=1030))
    first, verdict = summarize_run(tmp_path, LOADERS)
    # 30 s before the restart and 30 s after it; step 30 was lost with it.
    assert first == "40 of 40 steps, 0:01:00 of training; loss 2.0000 at the end, lowest 1.0000 at step 20"
    assert verdict == "waiting for data 0%: the loaders keep up"


def test_the_best_checkpoint_is_named(tmp_path: Path) -> None:
    for step, loss in ((10, 0.5), (20, 0.7)):
        found = HeldOut(key="a", loss=loss, num_samples=4)
        log(tmp_path, reading(step, 1.0), Evaluated(step=step, heldout=found))
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_heldout(tmp_path / f"checkpoint-{step}", found)
        mark_complete(tmp_path / f"checkpoint-{step}", keep=5)
    best = f"best by held-out loss: {tmp_path / 'checkpoint-10'}  held-out loss 0.5000"
    assert summarize_run(tmp_path, LOADERS)[1] == best


def test_a_run_without_a_step_says_nothing(tmp_path: Path) -> None:
    assert summarize_run(tmp_path, LOADERS) == []
    assert draw_losses(tmp_path) is None


@pytest.mark.parametrize("mae", [None, 0.1])
def test_losses_are_plotted(tmp_path: Path, mae: float | None) -> None:
    pytest.importorskip("matplotlib", reason="NOT TESTED: plots need matplotlib")
    found = HeldOut(key="a", loss=0.5, num_samples=4, mse=mae, mae=mae, group_mae={"arm": 0.1} if mae else {})
    log(
        tmp_path,
        reading(10, 1.0),
        Evaluated(step=10, heldout=found),
        reading(20, 0.5),
        Evaluated(step=20, heldout=found),
    )
    path = draw_losses(tmp_path)
    assert path == tmp_path / "losses.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
