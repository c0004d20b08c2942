"""One run at a time writes to a folder: by a lock of the system, or by a file that its holder keeps fresh."""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from engine.errors import OutputBusy
from engine.layout import WORK

LOCK = f"{WORK}/lock"
HELD = f"{WORK}/held"
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# Lustre without -o flock, some NFS and FUSE file systems; Linux's own ENOTSUPP has no name in Python.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, 524)
BEAT_SECONDS, STALE_SECONDS = 10.0, 90.0


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Have a folder to oneself.

    Where its file system has no locks, a file does: its holder's host and process, and a time that it renews.

    Raises:
        OutputBusy: another run holds it.
    """
    with (out / LOCK).open("a") as lock:
        if _lock(lock, out):
            yield
            return
    with _held(out):
        yield


def _lock(file: IO[str], out: Path) -> bool:
    """Whether the system locked the file; False where it cannot lock any there."""
    try:
        import fcntl  # not on Windows

        # The lock goes with the process: a killed run leaves none behind.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        if error.errno in BUSY:
            busy = f"{out} is being written by another run; wait for it, or choose another folder"
            raise OutputBusy(busy) from None
        raise OSError(error.errno, os.strerror(error.errno or 0), str(out / LOCK)) from error
    return True


@contextmanager
def _held(out: Path) -> Iterator[None]:
    path, mine = out / HELD, f"{socket.gethostname()} {os.getpid()} {uuid4().hex}"
    _take(path, mine, out)
    is_over = threading.Event()
    beat = threading.Thread(target=_renew, args=(path, is_over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        is_over.set()
        beat.join()
        path.unlink(missing_ok=True)


def _renew(path: Path, is_over: threading.Event) -> None:
    while not is_over.wait(BEAT_SECONDS):
        with suppress(OSError):  # the run itself meets whatever is wrong with the folder
            os.utime(path)


def _take(path: Path, mine: str, out: Path) -> None:
    if path.is_file() and (seen := _seen_seconds(path)) < STALE_SECONDS and not _is_dead(path):
        host, pid, *_ = [*path.read_text().split(), "?", "?"]
        raise OutputBusy(
            f"{out} is being written by another run: process {pid} on {host}, seen {seen:.0f} s ago. Its file system "
            f"has no locks; wait for it, choose another folder, or delete {path} if that process is gone"
        )
    path.unlink(missing_ok=True)
    try:
        with path.open("x") as file:
            file.write(mine)
    except FileExistsError:
        raise OutputBusy(f"{out} is being written by another run, which began at this moment") from None


def _seen_seconds(path: Path) -> float:
    """How long ago the holder renewed it, by the clock of the file system."""
    probe = path.with_name(f"{uuid4().hex}.clock")
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return max(0.0, now - path.stat().st_mtime)


def _is_dead(path: Path) -> bool:
    """Whether its holder was a process of this machine, and is no more."""
    host, pid, *_ = [*path.read_text().split(), "", ""]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
