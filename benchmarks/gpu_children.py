"""Work in processes of its own: one that fails, dies or hangs costs its own figures, and a limited time."""

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
"""A process that is ready calls it; it returns when all of them are."""

# A process that the kernel does not let go of, as a driver hangs, is left behind.
END_SECONDS = 5.0


class Failed(Exception):
    """Why some work has no result."""


def apart(work: Callable[[], Result], *, limit_seconds: float) -> Result:
    """What `work` returns in a process of its own.

    Raises:
        Failed: it raised, its process died, or it took too long.
    """
    child = _Child(partial(_without_begin, work))
    try:
        result: Result = child.take(monotonic() + limit_seconds, limit_seconds)
        return result
    finally:
        child.end()


def together(
    work: Callable[[Begin], Result],
    num_processes: int,
    *,
    limit_seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Result]:
    """What `work` returns in each of so many processes, which all begin when the last is ready.

    Args:
        work: Prepares itself, calls what it is given, and does what counts.
        num_processes: At once.
        limit_seconds: For all of it, the start of the processes included.
        meanwhile: Called here once they have begun.

    Raises:
        Failed: in one of them it raised, or its process died, or it took too long; the others are ended.
    """
    deadline = monotonic() + limit_seconds
    children: list[_Child] = []
    try:
        for _ in range(num_processes):
            children.append(_Child(work))
        for child in children:
            child.take(deadline, limit_seconds)
        for child in children:
            child.begin()
        meanwhile()
        return [child.take(deadline, limit_seconds) for child in children]
    finally:
        for child in children:
            child.end()


class _Child:
    """A process that sends None once it is ready, and then its result or what it failed with."""

    def __init__(self, work: Callable[[Begin], Any]) -> None:
        context = get_context("spawn")
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_run, args=(work, there))
        self.process.start()
        there.close()

    def begin(self) -> None:
        """If it has died since, the next take() says so."""
        with suppress(OSError):
            self.connection.send(None)

    def take(self, deadline: float, limit_seconds: float) -> Any:
        """What it sends next; Failed: nothing by then."""
        try:
            if not self.connection.poll(max(0.0, deadline - monotonic())):
                raise Failed(f"took longer than {limit_seconds:g} s, and was ended")
            sent = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(END_SECONDS)
            raise Failed(_death(self.process.exitcode)) from None
        if isinstance(sent, Failed):
            raise sent
        return sent

    def end(self) -> None:
        """Whatever it is at, and whatever it has started."""
        assert self.process.pid is not None, "it was started"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(END_SECONDS)
        self.connection.close()


def _run(work: Callable[[Begin], Any], connection: Connection) -> None:
    os.setsid()  # it and its own children can be ended as one, and Ctrl-C is its parent's business

    def begin() -> None:
        connection.send(None)
        connection.recv()

    try:
        sent = work(begin)
    except BaseException as error:  # whatever it is, it is the finding
        sent = Failed(" ".join(f"{type(error).__name__}: {error}".split()))
    with suppress(BrokenPipeError):  # nobody is there any more to hear it
        connection.send(sent)


def _without_begin(work: Callable[[], Result], begin: Begin) -> Result:
    return work()


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code}, and said nothing"
