"""Run work in its own process, which a driver may crash or hang, and without CUDA in this one."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from millrace.engine.about import child_command

Result = TypeVar("Result")
Instead = TypeVar("Instead")

# torch alone may take half a minute to import from a slow disk.
LIMIT_SECONDS = 120.0
# A process that waits in the kernel survives even SIGKILL.
DYING_SECONDS = 5.0
HANGS, BROKEN = "the driver hangs", "the driver or a library is broken"


def run_isolated(
    work: Callable[[], Result],
    on_failure: Callable[[str], Instead],
    *,
    limit_seconds: float = LIMIT_SECONDS,
    late_reason: str = HANGS,
    crash_reason: str = BROKEN,
) -> Result | Instead:
    """Run `work`, which can be pickled, in another process and return its result.

    Args:
        work: Called there without arguments.
        on_failure: Makes the result from the reason where that process fails or is late.
        limit_seconds: The most that it may take.
        late_reason: What is wrong if it takes longer.
        crash_reason: What is wrong if the process fails.
    """
    quiet = {"SVT_LOG": "1"}  # of the encoder that makes samples: errors only
    process = subprocess.Popen(
        child_command(__name__, "serve_work"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=quiet | os.environ,
    )
    try:
        told, errors = process.communicate(pickle.dumps(work), timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        return on_failure(f"no answer within {limit_seconds:g} s: {late_reason}")
    finally:
        if process.returncode is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=DYING_SECONDS)
    if process.returncode == 0:
        result: Result = pickle.loads(told)
        return result
    return on_failure(f"the process that tried it {describe_end(process.returncode, errors)}: {crash_reason}")


def describe_end(status: int, errors: bytes) -> str:
    """How a process ended, from its exit status and what it wrote to standard error: "died of SIGSEGV"."""
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return f"failed ({last or f'exit status {status}'})"


def serve_work() -> None:
    """Run the work from standard input in this process and write its result; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        work: Callable[[], object] = pickle.load(sys.stdin.buffer)
        pickle.dump(work(), answers)
