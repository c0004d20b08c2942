"""Explain why the system refuses to read or write, and what to do where permissions are the reason."""

import errno
import os
import shlex
from pathlib import Path

from millrace.embodiments import Message, Remedy

UNREADABLE = "cannot be read"
REFUSED = (errno.EACCES, errno.EPERM)
# With the user that a process works as, where the system can tell.
EFFECTIVE = os.access in os.supports_effective_ids


def why_unreadable(path: Path, error: OSError) -> str:
    """What to say after a path: "cannot be read (Permission denied; run `chmod u+rX data/meta`)"."""
    reason = f"{UNREADABLE} ({system_reason(error)}"
    if error.errno in REFUSED and (closed := _closed(path)) is not None:
        return Message(reason, "; ", Remedy(_change(closed, "rX")), ")")
    return f"{reason})"


def why_unwritable(path: Path, error: OSError) -> str:
    """What to say after a path to write: "cannot be written (Permission denied); name another place, or run ..."."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if os.path.lexists(parent))
    advice = "name another place"
    if error.errno in REFUSED and not _may(there, os.W_OK | os.X_OK if there.is_dir() else os.W_OK):
        advice += f", or {_change(there, 'rwX')}"
    return Message(f"cannot be written ({system_reason(error)}); ", Remedy(advice))


def system_reason(error: OSError) -> str:
    """An error in the system's own words; libraries put theirs around them."""
    return os.strerror(error.errno) if error.errno else str(error)


def _closed(path: Path) -> Path | None:
    """The first folder on the way to a file that may not be entered, or the file itself; None where all is open."""
    folders = reversed(path.absolute().parents)
    closed = next((folder for folder in folders if not _may(folder, os.X_OK)), None)
    return closed or (None if _may(path, os.R_OK) else path)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=EFFECTIVE)


def _change(path: Path, permissions: str) -> str:
    """The command that gives permissions, for whoever may run it."""
    where = shlex.quote(str(path))
    try:
        owner = path.lstat().st_uid
        name = path.owner()
    except OSError:
        return f"let its owner run `chmod a+{permissions} {where}`"
    except KeyError:  # of another machine
        name = f"user {owner}"
    if owner == os.geteuid():
        return f"run `chmod u+{permissions} {where}`"
    return f"let its owner, {name}, run `chmod a+{permissions} {where}`"
