"""Workers caught midway: one that comes to episode 0 is kept waiting until something was done to it."""

import fcntl
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

import av
import numpy as np

from conftest import video_path
from support.processes import CONTEXT, serve_forks

Deed = Callable[[int], None]  # to the process of a worker
# A plane of these frames is over 32 MiB: malloc keeps no such block at hand, it has to ask the system for each.
HEIGHT, WIDTH = 4096, 8192


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


def refuse_memory(pid: int) -> None:
    """From now on the system gives a process no more memory than it has, as under `ulimit -v`."""
    num_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (num_bytes, num_bytes))


def write_large(path: Path, *, num_frames: int) -> None:
    """A grey video whose every frame takes new memory, for `refuse_memory`."""
    image = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for _ in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "yuv420p")))
        container.mux(stream.encode(None))
