"""One run at a time writes to a folder: by a lock of the system, or by a file that its holder keeps fresh."""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from millrace.embodiments import Remedy
from millrace.engine.errors import OutputBusy

BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# Lustre without -o flock, some NFS and FUSE file systems; Linux's own ENOTSUPP has no name in Python.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, 524)
HELD = "held"
BEAT_SECONDS, STALE_SECONDS = 10.0, 90.0


@contextmanager
def lock_folder(folder: Path, file: Path) -> Iterator[None]:
    """Lock a folder of datasets or checkpoints for this run.

    Args:
        folder: Named in messages.
        file: The lock, which is made. On a file system without locks a file beside it holds the folder, with its
            holder's host and process, and a time that it renews.

    Raises:
        OutputBusy: another run holds it.
    """
    with file.open("a") as lock:
        if _lock(lock, folder):
            yield
            return
    with _held(folder, file.with_name(f"{file.name}.{HELD}")):
        yield


def _lock(file: IO[str], folder: Path) -> bool:
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
            advice = Remedy("wait for it, or choose another folder")
            raise OutputBusy(f"{folder} is being written by another run; ", advice, file=folder) from None
        raise OSError(error.errno, os.strerror(error.errno or 0), file.name) from error
    return True


@dataclass(frozen=True)
class _Holder:
    """Who holds a folder: what its file says, when that was renewed by the clock of its system, and how long ago."""

    content: str
    mtime_ns: int
    seen_seconds: float

    @property
    def host(self) -> str:
        return self._words[0]

    @property
    def pid(self) -> str:
        return self._words[1]

    @property
    def token(self) -> str:
        """What no other holder has, as part of a file's name."""
        word = self._words[2]
        return f"{word if word.isalnum() else 0}-{self.mtime_ns}"

    @property
    def _words(self) -> list[str]:
        return [*self.content.split(), "?", "?", "?"]

    @property
    def is_gone(self) -> bool:
        """Whether it did not renew its file for long, or was a process of this machine that is no more."""
        return self.seen_seconds >= STALE_SECONDS or (self.host == socket.gethostname() and is_dead(self.pid))


@contextmanager
def _held(folder: Path, path: Path) -> Iterator[None]:
    mine = f"{socket.gethostname()} {os.getpid()} {uuid4().hex}"
    _take(path, mine, folder)
    is_over = threading.Event()
    beat = threading.Thread(target=_renew, args=(path, mine, is_over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        is_over.set()
        beat.join()
        if (now := _holder(path)) is not None and now.content == mine:  # else another took over
            for claim in path.parent.glob(f"{path.name}-*"):  # of this run, and of runs that were killed
                claim.unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _renew(path: Path, mine: str, is_over: threading.Event) -> None:
    while not is_over.wait(BEAT_SECONDS):
        with suppress(OSError):  # the run itself meets whatever is wrong with the folder
            if path.read_text() != mine:  # another took over from this process, which was paused for long
                return
            os.utime(path)


def _take(path: Path, mine: str, folder: Path) -> None:
    """Write the file of a holder."""
    holder = _holder(path)
    if holder is not None and not holder.is_gone:
        raise OutputBusy(
            f"{folder} is being written by another run: process {holder.pid} on {holder.host}, seen "
            f"{holder.seen_seconds:.0f} s ago. Its file system has no locks; ",
            Remedy(f"wait for it, choose another folder, or delete {path} if that process is gone"),
            file=folder,
        )
    if holder is not None:
        _claim(path, holder, folder)
    try:
        with path.open("x") as file:
            file.write(mine)
    except FileExistsError:
        raise OutputBusy(f"{folder} is being written by another run, which began at this moment", file=folder) from None


def _claim(path: Path, gone: _Holder, folder: Path) -> None:
    """Remove the file of a holder that is gone. Of several that find it only one may, or each removes the other's.

    The claim stays as long as the folder is held: another host may see the old file for a while.
    """
    claim = path.with_name(f"{path.name}-{gone.token}")
    while not _made(claim):
        earlier = _holder(claim)
        if earlier is None or earlier.seen_seconds < STALE_SECONDS:
            raise OutputBusy(
                f"{folder} is being written by another run, which took over from one that is gone; ",
                Remedy(f"wait for it, choose another folder, or delete {claim} if no run is left"),
                file=folder,
            )
        claim = claim.with_name(f"{claim.name}-{earlier.mtime_ns}")  # whoever made it ended before it took over
    if (now := _holder(path)) is not None and now.token == gone.token:
        path.unlink(missing_ok=True)


def _made(claim: Path) -> bool:
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _holder(path: Path) -> _Holder | None:
    """None where nobody holds the folder, or not any more."""
    try:
        mtime_ns = path.stat().st_mtime_ns
        return _Holder(path.read_text(), mtime_ns, max(0.0, (_now_ns(path) - mtime_ns) / 1e9))
    except FileNotFoundError:
        return None


def _now_ns(path: Path) -> int:
    """The time by the clock of a file's system."""
    probe = path.with_name(f"{uuid4().hex}.clock")
    probe.touch()
    try:
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink()


def is_dead(pid: str) -> bool:
    """Whether no process of this machine has a number."""
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
