"""Workers caught midway: one that comes to episode 0 is kept waiting until something was done to it."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

from conftest import video_path
from support.processes import CONTEXT, serve_forks

Deed = Callable[[int], None]  # to the process of a worker


@contextmanager
def doing(source: Path, out: Path, deeds: Sequence[Deed], *, camera: str = "wrist") -> Iterator["SimpleQueue[int]"]:
    """Do the next of the deeds to each worker that comes to episode 0; yields to which processes one was done.

    A lease of one of its videos makes the system keep a worker waiting, as that opens it, until its deed is done.
    """
    serve_forks()
    done: SimpleQueue[int] = CONTEXT.SimpleQueue()
    is_ready = CONTEXT.Event()
    arguments = (video_path(source, 0, camera), out, list(deeds), done, is_ready)
    waylayer = CONTEXT.Process(target=_waylay, args=arguments, daemon=True)
    waylayer.start()
    is_ready.wait()
    try:
        yield done
    finally:
        waylayer.kill()
        waylayer.join()


def _waylay(video: Path, out: Path, deeds: list[Deed], done: "SimpleQueue[int]", is_ready: Event) -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the system says that somebody waits
    handle, known = os.open(video, os.O_RDWR), set()
    while deeds:
        _poll(partial(_has_leased, handle))
        is_ready.set()
        _poll(lambda: fcntl.fcntl(handle, fcntl.F_GETLEASE) != fcntl.F_WRLCK)
        # The driver opens some videos before there is a note; a worker opens one more than once.
        pids = {int(note.read_text().split()[-1]) for note in out.glob(".millrace/run-*/0.attempts")}
        for pid in pids - known:
            known.add(pid)
            deeds.pop(0)(pid)
            done.put(pid)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _has_leased(handle: int) -> bool:
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:  # a worker has it open
        return False
    return True


def _poll(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.001)


def kill(number: signal.Signals, pid: int) -> None:
    """As the OOM killer does, or as a codec crashes."""
    os.kill(pid, number)


def end_node(raylet: int, pid: int) -> None:
    """As a machine does that loses its power: Ray's process there and its worker."""
    for process in (raylet, pid):
        os.kill(process, signal.SIGKILL)


def wait_for(path: Path, num_lines: int, pid: int) -> None:
    """Until a file has that many lines."""
    _poll(lambda: path.is_file() and path.read_bytes().count(b"\n") >= num_lines)


def taken(queue: "SimpleQueue[int]") -> list[int]:
    """What lies in a queue."""
    return list(iter(lambda: None if queue.empty() else queue.get(), None))
