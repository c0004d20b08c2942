"""Apply a function to many values in processes of this machine, in order."""

import os
import pickle
import signal
import socket
import subprocess
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from millrace.engine.about import child_command
from millrace.engine.errors import WorkersFailed

Item = TypeVar("Item")
Result = TypeVar("Result")
# Values at hand for each process, so that none waits for the next.
NUM_AHEAD = 3


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_processes: int
) -> Iterator[Result]:
    """`map`, in that many processes; in this one where that is one.

    The function, a partial of one at the top of a module other than `__main__`, is sent to each process once.

    Raises:
        WorkersFailed: a process ended, such as by a crash of a codec or for want of memory.
    """
    if num_processes == 1:
        yield from map(function, items)
        return
    values, crew = iter(items), _Crew(pickle.dumps(function))
    pool, waiting = ThreadPoolExecutor(num_processes), deque[Future[Result]]()
    try:
        waiting.extend(pool.submit(crew.apply, item) for item in islice(values, NUM_AHEAD * num_processes))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(crew.apply, item) for item in islice(values, 1))
            yield result
    finally:  # also where the caller asks for no more
        crew.stop()
        pool.shutdown(cancel_futures=True)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The values in lists of `size`, the last one shorter."""
    values = iter(items)
    while chunk := list(islice(values, size)):
        yield chunk


class _Crew:
    """Processes that apply a function, started as they are needed: one for each thread that asks."""

    def __init__(self, function: bytes) -> None:
        self.function = function
        self.free: SimpleQueue[_Process] = SimpleQueue()
        self.started: list[_Process] = []
        self.lock, self.is_stopped = threading.Lock(), False

    def apply(self, item: Any) -> Any:
        """The function's result, or its error."""
        try:
            process = self.free.get_nowait()
        except Empty:
            process = self._start()
        result = process.apply(item)
        self.free.put(process)
        return result

    def _start(self) -> "_Process":
        with self.lock:
            if self.is_stopped:
                raise WorkersFailed("the work was stopped")
            self.started.append(_Process(self.function))
            return self.started[-1]

    def stop(self) -> None:
        """End all processes, whatever they do."""
        with self.lock:
            self.is_stopped = True
        for process in self.started:
            process.stop()


class _Process:
    """A process and the connection to it. It has no `__main__` of ours, which may begin to work when imported."""

    def __init__(self, function: bytes) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = Connection(ours.detach())
            command = child_command(__name__, "serve_function", theirs.fileno())
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self.function: bytes | None = function

    def apply(self, item: Any) -> Any:
        """The function's result; raises its error.

        Raises:
            WorkersFailed: the process ended.
        """
        try:
            if self.function is not None:
                self.connection.send_bytes(self.function)
                self.function = None
            self.connection.send_bytes(pickle.dumps(item))
            result, error, where = pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError) as broken:
            what = "a process that reads the dataset ended: a codec crashed, or memory is short"
            raise WorkersFailed(what) from broken
        if error is not None:
            raise error from RuntimeError(where)
        return result

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


def serve_function(handle: int) -> None:
    """Run in a process: apply the function that comes through the connection first to all that comes after it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes to the parent, too, which ends this
    connection, values = Connection(handle), SimpleQueue[bytes]()
    function = pickle.loads(connection.recv_bytes())
    threading.Thread(target=_receive, args=(connection, values), daemon=True).start()
    while True:
        connection.send_bytes(_apply(function, values.get()))


def _receive(connection: Connection, values: "SimpleQueue[bytes]") -> None:
    """Take values; when the parent is gone, end the process even while it works."""
    try:
        while True:
            values.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _apply(function: Callable[[Any], Any], value: bytes) -> bytes:
    """The pickled result, error, and place of the error; either of the first two is None."""
    try:
        return pickle.dumps((function(pickle.loads(value)), None, ""))
    except Exception as error:
        return pickle.dumps((None, error, traceback.format_exc()))
