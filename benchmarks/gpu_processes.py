"""Work in its own processes: one that fails, crashes or hangs costs its own figures and a limited time."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, TypeVar

Result = TypeVar("Result")
Begin = Callable[[], None]
"""Called by a process that is ready; returns when all are."""

END_SECONDS = 5.0  # a process that hangs in the kernel, as a driver may, is left behind


class Failed(Exception):
    """Why some work has no result."""


def run_alone(work: Callable[[], Result], *, limit_seconds: float) -> Result:
    """Run `work` in one process; see `run_together`."""
    return run_together(partial(_begin_and_run, work), 1, limit_seconds=limit_seconds)[0]


def run_together(
    work: Callable[[Begin], Result],
    num_processes: int,
    *,
    limit_seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Run `work` in several processes, which begin together; limit_seconds includes their start.

    work: prepares itself, calls `begin`, and does what is measured. meanwhile: called here once they have begun.

    Raises:
        Failed: one of them raised, crashed or took too long; the others are killed.
    """
    deadline = monotonic() + limit_seconds
    children: list[_Child] = []
    try:
        children.extend(_Child(work, deadline, limit_seconds) for _ in range(num_processes))
        for child in children:
            child.receive()
        for child in children:
            with suppress(OSError):  # it crashed: receive() says so
                child.connection.send(None)
        meanwhile()
        return [child.receive() for child in children]
    finally:
        for child in children:
            child.kill()


class _Child:
    """A process that sends None when it is ready, and then its result or why it failed."""

    def __init__(self, work: Callable[[Begin], Any], deadline: float, limit_seconds: float) -> None:
        context = get_context("spawn")
        self.deadline, self.limit_seconds = deadline, limit_seconds
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, there))
        self.process.start()
        there.close()

    def receive(self) -> Any:
        try:
            if not self.connection.poll(max(0.0, self.deadline - monotonic())):
                raise Failed(f"took longer than {self.limit_seconds:g} s, and was ended")
            received = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(END_SECONDS)
            raise Failed(f"its process ended with exit code {self.process.exitcode}") from None
        if isinstance(received, Failed):
            raise received
        return received

    def kill(self) -> None:
        """Kill it and all that it started."""
        assert self.process.pid is not None, "it was started"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(END_SECONDS)
        self.connection.close()


def _serve(work: Callable[[Begin], Any], connection: Connection) -> None:
    os.setsid()  # killed as one with its children; Ctrl-C is for the parent

    def begin() -> None:
        connection.send(None)
        connection.recv()

    try:
        result = work(begin)
    except BaseException as error:  # whatever it is, it is the finding
        result = Failed(" ".join(f"{type(error).__name__}: {error}".split()))
    with suppress(BrokenPipeError):
        connection.send(result)


def _begin_and_run(work: Callable[[], Result], begin: Begin) -> Result:
    begin()
    return work()
