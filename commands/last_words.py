"""Print what to do when this process is killed: a child of it does that."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# A read that fails has met the end of the pipe, which only this process holds open.
SAY = 'read -r word || printf "%s\\n" "$1" >&2'
HEAD_IS_GONE = (
    "this process was ended from outside: by Ray, if the head of its cluster is gone, else by the system. The same "
    "command, with the address of a running cluster, continues"
)


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Print a text on standard error if this process ends within the block as by SIGKILL.

    Ray ends a process so whose cluster's head it has not reached for a minute.
    """
    reading, writing = os.pipe()
    child = subprocess.Popen(["sh", "-c", SAY, "sh", text], stdin=reading, start_new_session=True)
    os.close(reading)
    try:
        yield
    finally:
        with suppress(OSError):
            os.write(writing, b"done\n")
        os.close(writing)
        child.wait()
