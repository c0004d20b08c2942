"""Errors of workers and of their loader processes, in a line for the terminal; the tracebacks stay in the logs."""

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from millrace.embodiments import MillraceError
from millrace.train.errors import TrainingFailed

MAX_CHARACTERS = 1000  # of a line; the log has all
# As torch raises the error of a loader process in its worker (torch/_utils.py, ExceptionWrapper).
LOADER = re.compile(r"Caught \S+ in DataLoader worker process (\d+)\.\nOriginal (.*)", re.DOTALL)
# As torch tells that such a process is gone (torch/utils/data/dataloader.py); of the reason it knows nothing.
LOADER_GONE = re.compile(r"DataLoader worker \(pid\(s\) [\d, ]+\) exited unexpectedly")
WHY_GONE = "it crashed, or was killed, as the kernel does when memory is short"
# As torch says it of a GPU.
OUT_OF_MEMORY = "CUDA out of memory"
HOW_TO_FIT = "pass --batch auto, or a larger --gradient-accumulation-steps, which keep the global batch"
DIED = "its process died"
OUR_TYPE = re.compile(r"millrace\.[\w.]+: ")


def describe_failure(error: BaseException) -> str:
    """An error in one line: our own by their message, others with their type.

    A loader process is named by its number; torch puts its whole traceback into the message.
    """
    died = getattr(error, "health_check_failure", None)  # of Ray Train, for a worker that does not answer
    if isinstance(died, BaseException):
        return f"{DIED}: {_one_line(str(died))}"
    text = str(error)
    if found := LOADER.match(text):
        return f"loader process {found[1]}: {_one_line(_last_error(found[2]))}"
    line = _one_line(text) or "no message"
    if LOADER_GONE.search(text):
        line = f"{line}: {WHY_GONE}"
    if line.startswith(OUT_OF_MEMORY):
        line = f"{'. '.join(line.split('. ')[:3])}: {HOW_TO_FIT}"  # what follows is about torch's allocator
    return line if isinstance(error, MillraceError) else f"{type(error).__name__}: {line}"


@contextmanager
def explain_failures() -> Iterator[None]:
    """Print the traceback of an error, and raise an error of ours in one line, which every process can unpickle.

    Raises:
        TrainingFailed: something failed that is not ours, or failed in a loader process.
    """
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, MillraceError) and describe_failure(error) == str(error):
            raise
        raise TrainingFailed(describe_failure(error)) from error


def join_failures(messages: Mapping[str, str]) -> str:
    """The messages of workers in a line, each once; first of those that died, as others fail for want of them.

    Args:
        messages: By worker, such as "1" or "1 on host".
    """
    workers: dict[str, list[str]] = {}
    for worker, message in messages.items():
        workers.setdefault(message, []).append(worker)
    ordered = sorted(workers.items(), key=lambda found: not found[0].startswith(DIED))
    return "; ".join(f"worker {', '.join(names)}: {message}" for message, names in ordered)


def _last_error(trace: str) -> str:
    """The error at the end of a traceback, without the type if it is ours."""
    lines = trace.rstrip().splitlines()
    last_frame = max((number for number, line in enumerate(lines) if line.startswith("  File ")), default=-1)
    after = (number for number in range(last_frame + 1, len(lines)) if not lines[number].startswith("    "))
    error = "\n".join(lines[next(after, len(lines) - 1) :])
    return OUR_TYPE.sub("", error, count=1) if OUR_TYPE.match(error) else error


def _one_line(text: str) -> str:
    """The lines joined, but for the indented ones, in which Ray lists ids."""
    line = " ".join(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\t"))
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]} ..."
