"""Work in several processes: results in order, errors as in this process, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.errors import WorkersFailed


def describe(added: int, number: int) -> tuple[int, int]:
    """The sum, and the process that made it."""
    return number + added, os.getpid()


def end_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def test_results_come_in_order_from_other_processes() -> None:
    found = list(map_in_processes(partial(describe, 10), range(40), num_processes=2))
    assert [number for number, _ in found] == list(range(10, 50))
    assert os.getpid() not in {process for _, process in found}


def test_one_process_is_this_one() -> None:
    assert list(map_in_processes(partial(describe, 0), [7], num_processes=1)) == [(7, os.getpid())]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_is_that_of_the_function(num_processes: int) -> None:
    results = map_in_processes(fail_at_three, range(9), num_processes=num_processes)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_a_process_that_ends_is_an_error() -> None:
    with pytest.raises(WorkersFailed, match="ended: a codec crashed, or memory is short"):
        list(map_in_processes(end_at_three, range(9), num_processes=2))


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_in_processes(fail_at_three, numbers(), num_processes=2)
    next(results)
    results.close()
    assert len(taken) < 10


def test_chunks_have_all_values() -> None:
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([], 2)) == []


NOTE = """
import os, time

def note(folder, number):
    (folder / str(os.getpid())).touch()
    time.sleep(0.2)
"""
# A script without `if __name__ == "__main__"`: no process runs it again.
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from note import note
from millrace.engine.dataset.processes import map_in_processes

list(map_in_processes(partial(note, Path(sys.argv[1])), range(10**6), num_processes=2))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_no_process_outlives_the_one_that_started_it(stop: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C comes to all processes of the terminal, of which only the first one speaks."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "note.py").write_text(NOTE)
    (tmp_path / "pids").mkdir()
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "pids"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(lambda: len(pids(tmp_path)) == 2)
        send = os.killpg if stop == signal.SIGINT else os.kill
        send(process.pid, stop)
        _, said = process.communicate(timeout=60)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(tmp_path)))
    assert said.count("Traceback") == (stop == signal.SIGINT)


def pids(folder: Path) -> list[str]:
    return [path.name for path in (folder / "pids").iterdir()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
