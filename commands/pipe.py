"""Exit quietly when the reader of standard output is gone, as after `millrace inspect ... | head`."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# As shells report a program that SIGPIPE ended.
EXIT_UNREAD = 141


@contextmanager
def exit_quietly_if_unread() -> Iterator[None]:
    """Exit without a message once the reader of standard output is gone.

    Raises:
        SystemExit: the reader is gone; the code is EXIT_UNREAD.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # otherwise Python does so as it exits, and complains
    except (BrokenPipeError, SystemExit) as end:
        # rich turns the one into the other, which hides it.
        if not is_unread(end) and not isinstance(end.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_UNREAD) from None


def is_unread(error: BaseException) -> bool:
    """Whether an error comes from standard output, not from another pipe."""
    if not isinstance(error, BrokenPipeError):
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
