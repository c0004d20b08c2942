"""The benchmark of the memory of a run's processes."""

import multiprocessing
import os
from pathlib import Path

import pytest

from benchmarks.loader_memory import Memory, list_processes, main, watch
from millrace.train.train_progress import Started, WorkerProcess, append_event

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
MB = 1_000_000


def hold(num_bytes: int, ready: "multiprocessing.queues.Queue[int]", end: "multiprocessing.synchronize.Event") -> None:
    """Keep memory of its own until told to end."""
    held = bytearray(os.urandom(MB)) * (num_bytes // MB)
    ready.put(os.getpid())
    end.wait()
    del held


def test_a_processs_own_memory_is_told_from_what_it_shares() -> None:
    context = multiprocessing.get_context("fork")
    shared, ready, end = bytearray(os.urandom(MB)) * 64, context.Queue(), context.Event()
    process = context.Process(target=hold, args=(32 * MB, ready, end))
    process.start()
    pid = ready.get(timeout=60)
    try:
        assert list_processes(os.getpid())[pid] == "loader or other child"
        memory = watch([os.getpid()], 0.1)["loader or other child", pid]
    finally:
        end.set()
        process.join(60)
    assert 32 <= memory.private < len(shared) / MB
    assert memory.proportional > memory.private


def test_its_own_memory_is_known() -> None:
    assert Memory.of(os.getpid()).private > 10


def test_a_folder_without_a_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["loader_memory", str(tmp_path)])
    assert main() == 2
    assert f"{tmp_path} holds no run that has started" in capsys.readouterr().err


def test_a_run_that_has_ended_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = multiprocessing.get_context("fork").Process(target=int)
    ended.start()
    ended.join(60)
    assert ended.pid is not None
    append_event(tmp_path, Started(step=0, max_steps=9, workers=(WorkerProcess(rank=0, host="a", pid=ended.pid),)))
    monkeypatch.setattr("sys.argv", ["loader_memory", str(tmp_path), "--seconds", "0.1"])
    assert main() == 1
    assert f"no worker of {tmp_path} runs on this machine" in capsys.readouterr().err
