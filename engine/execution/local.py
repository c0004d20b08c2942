"""Convert episodes on this machine without Ray: in worker processes, or in this process."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import IO

from millrace.engine.about import child_command
from millrace.engine.dataset import EpisodeResult
from millrace.engine.dataset.record import RESULT
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.errors import FaultCode, WorkersFailed
from millrace.engine.execution.capacity import available_memory, usable_cores
from millrace.engine.execution.crashes import MAX_CRASHES
from millrace.engine.execution.episode_worker import EpisodeWorker, fail, schedule_key, worker_memory_bytes
from millrace.engine.execution.executor import Folders
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.sources import RowReader
from millrace.engine.sources.access import system_reason
from millrace.engine.video.gpu.isolation import describe_end

# A worker has the next episode at hand as it ends one.
NUM_AHEAD = 2
# For a process to end whose connection has ended.
ENDING_SECONDS = 2.0


@dataclass(frozen=True)
class InlineExecutor:
    """Converts one episode after the other in this process, for debugging."""

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
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

    def run(self, plans: Sequence[EpisodePlan], job: Job, folders: Folders) -> Generator[EpisodeResult, None, None]:
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
        self.job = _hold_in_memory(pickle.dumps((job, folders)))
        self.processes: dict[Connection, _Process] = {}
        self.num_failed_starts = 0
        self.losses: Counter[int] = Counter()

    def start(self, num_workers: int) -> None:
        """Start worker processes, or as many as the system allows; they are given work once they are ready.

        Raises:
            WorkersFailed: there is none.
        """
        for _ in range(num_workers):
            try:
                process = _Process(self.job.fileno())
            except OSError as error:
                if self.processes:
                    return
                raise WorkersFailed(f"no worker process can be started ({system_reason(error)})") from error
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
            yield from self._replace(process)
            return
        is_result, process.is_ready = process.is_ready, True
        self.num_failed_starts = 0
        if is_result:
            process.given.popleft()
        self._feed(process)
        if is_result:
            yield RESULT.validate_json(message)

    def _feed(self, process: "_Process") -> None:
        # At the end nobody holds an episode that another process could begin.
        num_ahead = NUM_AHEAD if len(self.waiting) > NUM_AHEAD * len(self.processes) else 1
        while process.is_ready and self.waiting and len(process.given) < num_ahead:
            process.give(self.waiting.popleft())

    def _replace(self, process: "_Process") -> Iterator[EpisodeResult]:
        """Start another process for one that ended; the episodes that it had not finished wait again.

        A worker counts its crashes itself; an episode whose workers end where they do not count fails here.
        """
        del self.processes[process.connection]
        end = process.stop()
        self.num_failed_starts += not process.is_ready
        if self.num_failed_starts == MAX_CRASHES:
            raise WorkersFailed(f"worker processes end before they can work: the last {end}")
        if process.given:
            plan = process.given[0]
            self.losses[plan.index] += 1
            if self.losses[plan.index] > MAX_CRASHES:
                process.given.popleft()
                yield fail(plan, FaultCode.WORKER_DIED, f"{MAX_CRASHES} workers died over it: the last {end}")
        self.waiting.extendleft(reversed(process.given))
        if self.waiting:
            self.start(1)
            for other in self.processes.values():
                self._feed(other)

    def stop(self) -> None:
        """End all processes, whatever they do."""
        for process in self.processes.values():
            process.process.kill()
        for process in self.processes.values():
            process.stop()
        self.job.close()


class _Process:
    """A worker process, the connection to it, and the episodes that it was given and has not finished."""

    def __init__(self, job: int) -> None:
        """Start a process; job: the handle of a file that holds the pickled job and folders."""
        self.given: deque[EpisodePlan] = deque()
        self.is_ready = False
        with ExitStack() as on_failure:
            # Libraries' messages would break into the progress bar; those of a process that cannot start are shown.
            self.output = on_failure.enter_context(tempfile.TemporaryFile())
            ours, theirs = map(on_failure.enter_context, socket.socketpair())
            handles = theirs.fileno(), job
            self.process = subprocess.Popen(
                child_command(__name__, "serve_worker", *handles),
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                pass_fds=handles,
            )
            theirs.close()
            self.connection = Connection(ours.detach())
            on_failure.pop_all()

    def give(self, plan: EpisodePlan) -> None:
        """Hand over an episode."""
        self.given.append(plan)
        with suppress(OSError):  # of a process that has ended, which is seen when it is heard
            self.connection.send_bytes(pickle.dumps(plan))

    def stop(self) -> str:
        """Kill the process if it does not end at once; says how it ended."""
        self.connection.close()
        try:
            status = self.process.wait(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):  # one that waits in the kernel does not die of it
                self.process.wait(timeout=ENDING_SECONDS)
            status = -signal.SIGKILL
        with self.output as output:
            output.seek(0)
            return describe_end(status, output.read())


def _hold_in_memory(content: bytes) -> IO[bytes]:
    """A nameless file for all processes, where it can be on no disk.

    Sent by a connection, it would keep each process from starting before the one before has read it.
    """
    has_memfd = hasattr(os, "memfd_create")  # on Linux
    file: IO[bytes] = os.fdopen(os.memfd_create("job"), "w+b") if has_memfd else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.flush()
    return file


def serve_worker(handle: int, job: int) -> None:
    """Run in a worker process: convert what comes through the connection until that ends; job: see `_Process`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes to the driver, too, which ends this
    connection = Connection(handle)
    # Processes share the handle's position.
    converted, folders = pickle.loads(os.pread(job, os.fstat(job).st_size, 0))
    worker = EpisodeWorker(converted, folders.out, folders.scratch)
    plans: SimpleQueue[EpisodePlan | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, plans), daemon=True).start()
    connection.send_bytes(b"ready")
    while (plan := plans.get()) is not None:
        connection.send_bytes(RESULT.dump_json(worker.convert(plan)))
    sys.exit(1)


def _receive(connection: Connection, plans: "SimpleQueue[EpisodePlan | None]") -> None:
    """Take episodes; when the driver is gone, end the process even within an episode.

    Puts None for an episode that cannot be read here: the process ends once those before are done.
    """
    try:
        while True:
            plans.put(pickle.loads(connection.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        plans.put(None)
