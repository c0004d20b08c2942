"""Locks of open files, which end with their process."""

from typing import IO, Any


def lock_file(file: IO[Any], *, is_shared: bool = False, is_patient: bool = True) -> bool:
    """Lock a file until it is closed; returns whether it is locked now.

    Args:
        file: Open.
        is_shared: Others may lock it, too, if they share it.
        is_patient: Wait for whoever holds it, else give up at once. Where the system cannot lock any file, all give up.
    """
    try:
        import fcntl  # not on Windows

        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if is_patient else kind | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
