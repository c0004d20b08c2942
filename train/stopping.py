"""Stop a run on SIGINT or SIGTERM: the first one saves a checkpoint, a second one ends at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from millrace.train.run_folder import REQUEST

# What REQUEST says. It is overwritten in place: NFS then shows it to whoever opens the file next.
IDLE, TRAINING, STOP = b"idle    ", b"training", b"stop    "
SECONDS_BETWEEN_LOOKS = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = "stopping: a checkpoint is saved after this step. A second Ctrl-C ends the run at once"


@contextmanager
def stop_on_signals(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM while a run trains into a request to save and stop.

    Before it trains, and from the second signal on, they raise KeyboardInterrupt. Outside the main thread, which
    alone receives signals, nothing is changed.

    Args:
        folder: Of the run; it exists.
        tell: Takes a line for the user.
    """
    (folder / REQUEST).write_bytes(IDLE)
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if _read(folder) != TRAINING:
            raise KeyboardInterrupt
        request_stop(folder)
        tell(NOTICE)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def request_stop(folder: Path) -> None:
    """Ask the run in a folder to save a checkpoint and stop."""
    _write(folder, STOP)


def is_stop_requested(folder: Path) -> bool:
    """Whether the run in a folder was asked to stop."""
    return _read(folder) == STOP


class StopListener:
    """Tells all workers after the same step that the run was asked to stop.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._next_look, self._is_asked = folder, 0.0, False
        self._is_first = not dist.is_initialized() or dist.get_rank() == 0
        if self._is_first and not is_stop_requested(folder):
            _write(folder, TRAINING)

    def must_stop(self) -> bool:
        """Whether to save and stop now; every worker calls it after each step, and gets the answer of rank 0."""
        if self._is_first and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            self._is_asked = is_stop_requested(self._folder)
        if not dist.is_initialized():
            return self._is_asked
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        answer = torch.tensor([self._is_asked], dtype=torch.uint8, device=device)
        dist.broadcast(answer, 0)
        return bool(answer.item())


def ignore_interrupts(loader: int = 0) -> None:
    """Keep a loader process alive while its run saves: a terminal sends Ctrl-C to all processes.

    Not so for SIGTERM, by which torch and Python themselves end loaders.

    Args:
        loader: Its number, which torch passes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read(folder: Path) -> bytes:
    try:
        return (folder / REQUEST).read_bytes()
    except FileNotFoundError:  # a run that was started without `stop_on_signals`
        return IDLE


def _write(folder: Path, state: bytes) -> None:
    path = folder / REQUEST
    path.touch()
    with path.open("r+b") as file:
        file.write(state)
