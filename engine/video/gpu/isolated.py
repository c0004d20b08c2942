"""Work in a process of its own: a driver that crashes or hangs takes that along, and CUDA is not begun in this one."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")
Instead = TypeVar("Instead")

# torch alone may take half a minute to import from a slow disk.
LIMIT_SECONDS = 120.0
# A process that waits in the kernel does not die of it.
DYING_SECONDS = 5.0
# The modules of this process, but not its `__main__`, as multiprocessing would have it: that may begin to work.
CODE = "import sys; sys.path[:] = {path!r}; from millrace.engine.video.gpu.isolated import answer; answer()"
HANGS, BROKEN = "the driver hangs", "the driver or a library is broken"


def apart(
    work: Callable[[], Result],
    failed: Callable[[str], Instead],
    *,
    limit_seconds: float = LIMIT_SECONDS,
    why_late: str = HANGS,
    why_dead: str = BROKEN,
) -> Result | Instead:
    """What `work`, which can be pickled, returns in another process; or of `failed`, which is told why it did not.

    Args:
        work: What to do.
        failed: Makes the result where that is not done.
        limit_seconds: It may take.
        why_late: What it means that it takes longer.
        why_dead: What it means that the process ends before.
    """
    quiet = {"SVT_LOG": "1"}  # of the encoder that makes samples: errors only
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=quiet | os.environ,
    )
    try:
        told, errors = process.communicate(pickle.dumps(work), timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        return failed(f"no answer within {limit_seconds:g} s: {why_late}")
    finally:
        if process.returncode is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=DYING_SECONDS)
    if process.returncode == 0:
        result: Result = pickle.loads(told)
        return result
    return failed(f"the process that tried it {_end(process.returncode, errors)}: {why_dead}")


def _end(status: int, errors: bytes) -> str:
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return f"failed ({last or f'exit status {status}'})"


def answer() -> None:
    """Run in the other process: do the work read from standard input; output of libraries is no part of the answer."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        work: Callable[[], object] = pickle.load(sys.stdin.buffer)
        pickle.dump(work(), answers)
