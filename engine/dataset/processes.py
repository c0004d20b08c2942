"""Apply a function to many values in processes of this machine, in order."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from millrace.engine.errors import WorkersFailed

Item = TypeVar("Item")
Result = TypeVar("Result")
# Values at hand for each process, so that none waits for the next.
NUM_AHEAD = 3

_function: Callable[[Any], Any]


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_processes: int
) -> Iterator[Result]:
    """`map`, in that many processes; in this one where that is one.

    Processes are spawned, as a fork of a process with threads may wait for ever: a script that asks for more than one
    needs `if __name__ == "__main__":`. The function, a partial of one at the top of a module, is sent to each once.

    Raises:
        WorkersFailed: a process ended, such as by a crash of a codec or for want of memory.
    """
    if num_processes == 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"), initializer=_start, initargs=(function,))
    values, waiting = iter(items), deque[Future[Result]]()
    try:
        waiting.extend(pool.submit(_apply, item) for item in islice(values, NUM_AHEAD * num_processes))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_apply, item) for item in islice(values, 1))
            yield result
    except BaseException as error:  # also where the caller asks for no more
        # A pool that is shut down before its processes have started asks all the time whether they live.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            what = "a process that reads the dataset ended: a codec crashed, or memory is short"
            raise WorkersFailed(what) from error
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The values in lists of `size`, the last one shorter."""
    values = iter(items)
    while chunk := list(islice(values, size)):
        yield chunk


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes to the parent, too, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Else a process whose parent was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _apply(item: Any) -> Any:
    return _function(item)
