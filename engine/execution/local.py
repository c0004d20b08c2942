"""Convert episodes on this machine without Ray: in worker processes, or in this process."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue

from millrace.engine.dataset import EpisodeResult
from millrace.engine.dataset.record import RESULT
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import WorkersFailed
from millrace.engine.execution.capacity import available_memory, usable_cores
from millrace.engine.execution.crashes import MAX_CRASHES
from millrace.engine.execution.episode_worker import EpisodeWorker, schedule_key, worker_memory_bytes
from millrace.engine.execution.executor import Folders
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.sources import RowReader
from millrace.engine.video.gpu.isolation import describe_end

# A worker has the next episode at hand as it ends one.
NUM_AHEAD = 2
# A new interpreter with the modules of this one, but without its `__main__`, which multiprocessing would run again: a
# user's script that converts without `if __name__ == "__main__"` would run again in each worker.
CODE = """
import sys
sys.path[:] = {path!r}
from millrace.engine.execution.local import serve_worker
serve_worker({handle})
"""


@dataclass(frozen=True)
class InlineExecutor:
    """Converts one episode after the other in this process, for debugging."""

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Iterator[EpisodeResult]:
        """Yield the results in the plans' order; a codec that crashes ends this process."""
        reader = RowReader()
        for plan in plans:
            yield convert_episode(plan, job, folders.out, folders.scratch, reader=reader)

    def __str__(self) -> str:
        return "this process"


@dataclass(frozen=True)
class LocalExecutor:
    """Converts in `num_workers` processes of this machine, one episode each at a time."""

    num_workers: int

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Iterator[EpisodeResult]:
        """Yield each result as it comes.

        Raises:
            WorkersFailed: worker processes end before they can work.
        """
        crew = _Crew(sorted(plans, key=schedule_key), job, folders)
        try:
            crew.start(min(len(plans), self.num_workers))
            yield from crew.results()
        finally:
            crew.stop()

    def __str__(self) -> str:
        return f"{self.num_workers} process{'' if self.num_workers == 1 else 'es'}"


def default_num_workers(job: Job) -> int:
    """One for each core, fewer where memory is short."""
    return max(1, min(usable_cores(), available_memory() // worker_memory_bytes(job)))


class _Crew:
    """The worker processes, and the episodes that wait for one."""

    def __init__(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> None:
        self.waiting = deque(plans)
        self.job = pickle.dumps((job, folders))
        self.processes: dict[Connection, _Process] = {}
        self.num_failed_starts = 0

    def start(self, num_workers: int) -> None:
        """Start worker processes; they are given work once they are ready."""
        for _ in range(num_workers):
            process = _Process(self.job)
            self.processes[process.connection] = process

    def results(self) -> Iterator[EpisodeResult]:
        """Yield results until every episode has one."""
        while self.waiting or any(process.given for process in self.processes.values()):
            for connection in wait(list(self.processes)):
                assert isinstance(connection, Connection)
                yield from self._hear(self.processes[connection])

    def _hear(self, process: "_Process") -> Iterator[EpisodeResult]:
        """Take what a process sent, its readiness or a result, and give it the next episode."""
        try:
            message = process.connection.recv_bytes()
        except (EOFError, OSError):
            self._replace(process)
            return
        is_result, process.is_ready = process.is_ready, True
        if is_result:
            process.given.popleft()
        # At the end nobody holds an episode that another process could begin.
        num_ahead = NUM_AHEAD if len(self.waiting) > NUM_AHEAD * len(self.processes) else 1
        while self.waiting and len(process.given) < num_ahead:
            process.give(self.waiting.popleft())
        if is_result:
            yield RESULT.validate_json(message)

    def _replace(self, process: "_Process") -> None:
        """Start another process for one that ended; the episodes that it had not finished wait again."""
        del self.processes[process.connection]
        end = process.stop()
        self.num_failed_starts += not process.is_ready
        if self.num_failed_starts == MAX_CRASHES:
            raise WorkersFailed(f"worker processes end before they can work: the last {end}")
        self.waiting.extendleft(reversed(process.given))
        if self.waiting:
            self.start(1)

    def stop(self) -> None:
        """End all processes, whatever they do."""
        for process in self.processes.values():
            process.stop()


class _Process:
    """A worker process, the connection to it, and the episodes that it was given and has not finished."""

    def __init__(self, job: bytes) -> None:
        self.given: deque[EpisodePlan] = deque()
        self.is_ready = False
        # Libraries' messages would break into the progress bar; those of a process that cannot start are shown.
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE.format(path=sys.path, handle=theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                pass_fds=(theirs.fileno(),),
            )
        self.connection = Connection(ours.detach())
        self._send(job)

    def give(self, plan: EpisodePlan) -> None:
        """Hand over an episode."""
        self.given.append(plan)
        self._send(pickle.dumps(plan))

    def _send(self, message: bytes) -> None:
        with suppress(OSError):  # of a process that has ended, which is seen when it is heard
            self.connection.send_bytes(message)

    def stop(self) -> str:
        """Kill the process if it has not ended; says how it ended."""
        self.process.kill()
        status = self.process.wait()
        self.connection.close()
        with self.output as output:
            output.seek(0)
            return describe_end(status, output.read())


def serve_worker(handle: int) -> None:
    """Run in a worker process: convert what comes through the connection until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes to the driver, too, which ends this
    connection = Connection(handle)
    job, folders = pickle.loads(connection.recv_bytes())
    worker = EpisodeWorker(job, folders.out, folders.scratch)
    plans: SimpleQueue[EpisodePlan] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, plans), daemon=True).start()
    connection.send_bytes(b"ready")
    while True:
        connection.send_bytes(RESULT.dump_json(worker.convert(plans.get())))


def _receive(connection: Connection, plans: "SimpleQueue[EpisodePlan]") -> None:
    """Take episodes; when the driver is gone, end the process even within an episode."""
    with suppress(EOFError, OSError):
        while True:
            plans.put(pickle.loads(connection.recv_bytes()))
    os._exit(0)
