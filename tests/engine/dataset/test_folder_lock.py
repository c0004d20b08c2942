"""Two runs never write to one folder, whatever locks its file system has; a held one that is gone is taken over."""

import errno
import fcntl
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from millrace.engine.dataset import folder_lock
from millrace.engine.dataset.folder_lock import STALE_SECONDS, lock_folder
from millrace.engine.errors import OutputBusy

LOCK = ".millrace/lock"
HELD = f"{LOCK}.held"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / ".millrace").mkdir()
    return tmp_path


def refuse(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, 524])
def test_a_file_system_without_locks_is_written_to_by_one_run(
    out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(number, monkeypatch)
    busy = rf"process {os.getpid()} on {socket.gethostname()}, seen \d+ s ago. Its file system has no locks; wait"
    with lock_folder(out, out / LOCK), pytest.raises(OutputBusy, match=busy), lock_folder(out, out / LOCK):
        pass
    assert not (out / HELD).exists()
    with lock_folder(out, out / LOCK):
        assert (out / HELD).exists()


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_only_a_lock_that_is_held_means_busy(out: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse(number, monkeypatch)
    with pytest.raises(OutputBusy, match="is being written by another run; wait for it"), lock_folder(out, out / LOCK):
        pass
    refuse(errno.EIO, monkeypatch)
    with pytest.raises(OSError, match=f"Input/output error.*{out}"), lock_folder(out, out / LOCK):
        pass


@pytest.mark.parametrize("holder", [f"{socket.gethostname()} 999999999 a", "another 1 a", ""])
def test_a_holder_that_is_gone_is_no_longer_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch, holder: str) -> None:
    refuse(errno.ENOSYS, monkeypatch)
    (out / HELD).write_text(holder)
    if not holder.startswith(socket.gethostname()):
        with pytest.raises(OutputBusy, match="is being written by another run: process"), lock_folder(out, out / LOCK):
            pass
        long_ago = time.time() - STALE_SECONDS - 10
        os.utime(out / HELD, (long_ago, long_ago))
    with lock_folder(out, out / LOCK):
        assert (out / HELD).read_text().split()[1] == str(os.getpid())


def test_of_two_that_find_a_holder_gone_one_takes_over(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looks at the file before the first takes over, and goes on after it."""
    refuse(errno.ENOSYS, monkeypatch)
    (out / HELD).write_text(f"{socket.gethostname()} 999999999 a")
    first = ExitStack()
    is_dead = folder_lock.is_dead

    def take_over(pid: str) -> bool:
        monkeypatch.setattr(folder_lock, "is_dead", is_dead)
        first.enter_context(lock_folder(out, out / LOCK))
        return is_dead(pid)

    monkeypatch.setattr(folder_lock, "is_dead", take_over)
    with first:
        with (
            pytest.raises(OutputBusy, match="which took over from one that is gone"),
            lock_folder(out, out / LOCK),
        ):
            pass
        assert (out / HELD).read_text().split()[1] == str(os.getpid())
    assert [path.name for path in (out / ".millrace").iterdir()] == ["lock"]


@pytest.mark.parametrize("is_back", [False, True])
def test_a_holder_that_ends_at_this_moment_is_no_error(
    out: Path, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    refuse(errno.ENOSYS, monkeypatch)
    (out / HELD).write_text(f"{socket.gethostname()} 999999999 a")
    is_dead = folder_lock.is_dead

    def end(pid: str) -> bool:
        (out / HELD).unlink()
        if is_back:
            (out / HELD).write_text("another 1 b")
        return is_dead(pid)

    monkeypatch.setattr(folder_lock, "is_dead", end)
    if is_back:
        with pytest.raises(OutputBusy, match="which began at this moment"), lock_folder(out, out / LOCK):
            pass
        assert (out / HELD).read_text() == "another 1 b"
    else:
        with lock_folder(out, out / LOCK):
            pass


def test_a_holder_that_was_given_up_leaves_the_next_ones_file(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(errno.ENOSYS, monkeypatch)
    with lock_folder(out, out / LOCK):
        (out / HELD).write_text("another 1 b")
    assert (out / HELD).read_text() == "another 1 b"


def test_a_run_that_was_killed_while_it_took_over_is_not_waited_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(errno.ENOSYS, monkeypatch)
    held = out / HELD
    held.write_text(f"{socket.gethostname()} 999999999 a")
    claim = held.with_name(f"{held.name}-a-{held.stat().st_mtime_ns}")
    claim.touch()
    with (
        pytest.raises(OutputBusy, match="which took over from one that is gone"),
        lock_folder(out, out / LOCK),
    ):
        pass
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(claim, (long_ago, long_ago))
    with lock_folder(out, out / LOCK):
        assert held.read_text().split()[1] == str(os.getpid())
    assert [path.name for path in held.parent.iterdir()] == ["lock"]


def test_a_holder_does_not_keep_the_next_ones_file_fresh(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(errno.ENOSYS, monkeypatch)
    monkeypatch.setattr(folder_lock, "BEAT_SECONDS", 0.01)
    held = out / HELD
    with lock_folder(out, out / LOCK):
        held.write_text("another 1 b")
        time.sleep(0.05)  # a beat that had begun may end
        os.utime(held, (1, 1))
        time.sleep(0.1)
        assert held.stat().st_mtime == 1
