"""Work in a process of its own: a driver that crashes takes that with it, and CUDA is not begun in this one."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Result = TypeVar("Result")
Instead = TypeVar("Instead")

CRASHED = "the process that tried it crashed: the driver or a library is broken"


def apart(work: Callable[[], Result], crashed: Instead) -> Result | Instead:
    """What `work` returns in another process, or `crashed` where that died."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work).result()
        except BrokenProcessPool:
            return crashed
