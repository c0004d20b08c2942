"""What a run tells of itself: readings, the log, and what the terminal shows of it."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from millrace.train.heldout import HeldOut
from millrace.train.progress_display import SECONDS_BETWEEN_LOOKS, show_events
from millrace.train.run_summary import Loaders
from millrace.train.train_progress import (
    LOG,
    Evaluated,
    Failed,
    Meter,
    MeterReading,
    Saved,
    Share,
    Started,
    Waiting,
    WorkerFailure,
    WorkerProcess,
    append_event,
    last_start,
    read_events,
)

LOADERS = Loaders(2, 8)
STARTED = Started(step=0, max_steps=20, workers=(WorkerProcess(rank=0, host="a", pid=1),))


def reading(step: int, *, memory: int | None = 38_100_000_000) -> MeterReading:
    return MeterReading(
        step=step,
        max_steps=20,
        loss=0.04312,
        learning_rate=9.8e-5,
        samples_per_second=31.24,
        seconds_left=3731.2,
        ranks=(
            Share(data_wait_share=0.03, gpu_memory_bytes=memory),
            Share(data_wait_share=0.21, gpu_memory_bytes=memory and memory // 2),
        ),
    )


def test_a_meter_gives_rates_since_the_last_reading() -> None:
    now = 100.0
    meter = Meter(10, clock=lambda: now)
    with meter.measure_wait():
        now = 101.0
    now = 104.0
    assert meter.read(18) == (2.0, 0.25)
    now = 106.0
    assert meter.read(20) == (1.0, 0.0)


def test_a_line_tells_of_the_worker_that_holds_up_the_others() -> None:
    assert reading(10).line == (
        "step 10/20  loss 0.0431  lr 9.80e-05  31.2 samples/s  GPU 38.1 GB  waiting for data 21%  1:02:11 left"
    )
    assert "GPU" not in reading(10, memory=None).line


def test_the_log_gives_back_what_was_told(tmp_path: Path) -> None:
    told = [STARTED, reading(10), Saved(step=10, checkpoint="out/checkpoint-10")]
    for event in told:
        append_event(tmp_path, event)
    assert read_events(tmp_path) == told
    assert len((tmp_path / LOG).read_text().splitlines()) == 3


def test_the_terminal_shows_this_run_and_not_the_one_before(tmp_path: Path) -> None:
    append_event(tmp_path, Saved(step=5, checkpoint="out/checkpoint-5"))
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=40), LOADERS):
        started = STARTED.model_copy(update={"time": reading(10).time})
        for event in (started, reading(10), reading(11), Saved(step=11, checkpoint="out/[checkpoint-11]"), reading(20)):
            append_event(tmp_path, event)
    assert terminal.getvalue().splitlines() == [
        "starting at step 0 of 20 with 1 worker(s)",
        reading(10).line,
        "saved out/[checkpoint-11]",
        reading(20).line,
    ]


def test_the_terminal_says_what_to_do_about_waiting(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=40), LOADERS):
        for event in (STARTED, reading(10).model_copy(update={"time": STARTED.time + 300}), reading(20)):
            append_event(tmp_path, event)
    assert terminal.getvalue().splitlines()[2] == "waiting for data 21%: raise --dataloader-num-workers to 3"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_line_that_is_still_written_is_waited_for(tmp_path: Path, is_terminal: bool) -> None:
    terminal = io.StringIO()
    line = Saved(step=5, checkpoint="out/checkpoint-5").model_dump_json() + "\n"
    console = Console(file=terminal, force_terminal=is_terminal, width=80)
    with show_events(tmp_path, console, LOADERS), (tmp_path / LOG).open("a") as file:
        file.write(line[:20])
        file.flush()
        time.sleep(2 * SECONDS_BETWEEN_LOOKS)
        file.write(line[20:])
    assert terminal.getvalue().count("saved out/checkpoint-5") == 1


def failed(restart: int, *hosts: str) -> Failed:
    failures = [WorkerFailure(rank=rank, host=host, message="gone") for rank, host in enumerate(hosts)]
    return Failed(step=10, failures=tuple(failures), restart=restart, max_restarts=2)


def test_a_restart_says_why_and_the_last_failure_is_left_to_the_error_that_follows(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=40), LOADERS):
        for event in (
            failed(1, "a", "a"),
            Waiting(step=10, what="8 GPUs: 3 of the cluster's 16 are free"),
            failed(2, "a", "[b]"),
            failed(3, "a"),
        ):
            append_event(tmp_path, event)
    assert terminal.getvalue().splitlines() == [
        "failed: worker 0, 1: gone; restart 1 of 2",
        "waiting for 8 GPUs: 3 of the cluster's 16 are free",
        "failed: worker 0 on a, 1 on [b]: gone; restart 2 of 2",
    ]


def test_the_newest_start_is_found(tmp_path: Path) -> None:
    assert last_start(tmp_path) is None
    newer = STARTED.model_copy(update={"step": 7})
    for event in (STARTED, newer, reading(10)):
        append_event(tmp_path, event)
    assert last_start(tmp_path) == newer


def test_an_error_that_is_no_number_is_shown_and_so_is_what_follows(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=80), LOADERS):
        append_event(tmp_path, Evaluated(step=5, heldout=HeldOut(key="a", loss=float("nan"), num_samples=4)))
        append_event(tmp_path, Saved(step=5, checkpoint="checkpoint-5"))
    assert terminal.getvalue().splitlines() == ["step 5  held-out loss nan", "saved checkpoint-5"]


def test_what_follows_a_line_that_was_cut_short_is_shown_and_read(tmp_path: Path) -> None:
    """As a disk that was full for a moment leaves it."""
    terminal = io.StringIO()
    with show_events(tmp_path, Console(file=terminal, width=80), LOADERS):
        append_event(tmp_path, STARTED)
        with (tmp_path / LOG).open("a") as log:
            log.write('{"time":1.0,"step":7,"eve')
        append_event(tmp_path, Saved(step=7, checkpoint="checkpoint-7"))
    assert terminal.getvalue().splitlines()[1:] == ["saved checkpoint-7"]
    assert [type(event) for event in read_events(tmp_path)] == [Started, Saved]


def test_an_error_with_any_end_of_a_line_in_it_is_read(tmp_path: Path) -> None:
    why = WorkerFailure(rank=0, host="a", message="a file\u2028named\x85so")
    told = Failed(step=10, failures=(why,), restart=1, max_restarts=2)
    append_event(tmp_path, told)
    assert read_events(tmp_path) == [told]
