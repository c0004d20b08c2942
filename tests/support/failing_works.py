"""What can go wrong in a measurement of the GPU's benchmark, each done in the process that measures."""

import os
import signal
import time
from pathlib import Path

from benchmarks.gpu_processes import Begin
from benchmarks.gpu_works import Setup, Step


def begin_raising(setup: Setup) -> Step:
    raise MemoryError("the card is full")


def begin_dying(setup: Setup) -> Step:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def begin_hanging(setup: Setup) -> Step:
    return lambda: time.sleep(600) or 0


def begin_crowded(setup: Setup) -> Step:
    """Works in one process; the second that begins is refused, as by a card that limits its sessions."""
    place = setup.folder / "taken"
    if place.exists():
        raise OSError("no more sessions")
    place.touch()
    return lambda: 1


def die_after_beginning(begin: Begin) -> int:
    begin()
    os._exit(3)


def leave_a_child(path: Path, begin: Begin) -> int:
    if os.fork() == 0:
        time.sleep(3)
        path.touch()
        os._exit(0)
    begin()
    time.sleep(600)
    return 0
