"""One run at a time writes below a prefix of an object store: by an object that its holder renews."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, Remedy
from millrace.engine.dataset.folder_lock import BEAT_SECONDS, STALE_SECONDS, is_dead
from millrace.engine.errors import OutputBusy, StoreError
from millrace.engine.layout import WORK
from millrace.engine.stored.objects import Objects

LEASE = f"{WORK}/lease.json"
CLAIM = f"{WORK}/claim-"
BOOT_ID, PROCESS_NUMBERS = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


class RunLease(FrozenModel):
    """Who writes below a prefix.

    host: for messages. machine: identifies a start of a machine and a container; empty where that is not known.
    token: identifies the run.
    """

    host: str
    pid: int
    token: str
    machine: str = ""

    @classmethod
    def of_this_run(cls) -> "RunLease":
        """A new one, of this process."""
        return cls(host=socket.gethostname(), pid=os.getpid(), token=uuid4().hex, machine=_machine())

    @classmethod
    def read(cls, objects: Objects) -> "RunLease | None":
        """Who holds the prefix; None where nobody does. Of a damaged object nothing is known."""
        content = objects.read_or_none(LEASE)
        try:
            return None if content is None else cls.model_validate_json(content)
        except ValidationError:
            return cls(host="?", pid=0, token="")

    def is_dead(self) -> bool:
        """Whether it is a process of this machine that is no more."""
        return self.machine != "" and self.machine == _machine() and is_dead(str(self.pid))

    @property
    def content(self) -> bytes:
        """As the object holds it."""
        return self.model_dump_json().encode()


def _machine() -> str:
    """This start of this machine, and the container; hosts of one name may be several machines."""
    try:
        return f"{BOOT_ID.read_text().strip()} {os.readlink(PROCESS_NUMBERS)}"
    except OSError:
        return ""


@contextmanager
def hold_lease(objects: Objects) -> Iterator[None]:
    """Hold a prefix while this lasts.

    A run that renewed its lease for `STALE_SECONDS` no more, by the store's clock, or was a process of this machine
    that is gone, is taken over from.

    Raises:
        OutputBusy: another run holds it.
    """
    mine = RunLease.of_this_run()
    claim = _take(objects, mine)
    is_over = threading.Event()
    beat = threading.Thread(target=_renew, args=(objects, mine, is_over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        is_over.set()
        beat.join()
        with suppress(StoreError):  # it becomes stale
            if RunLease.read(objects) == mine:
                objects.delete([LEASE, *claim])


def _renew(objects: Objects, mine: RunLease, is_over: threading.Event) -> None:
    while not is_over.wait(BEAT_SECONDS):
        with suppress(StoreError):  # the run itself meets whatever is wrong with the store
            if RunLease.read(objects) != mine:  # another took over from this process, which was paused for long
                return
            objects.put(mine.content, LEASE)


def _take(objects: Objects, mine: RunLease) -> list[str]:
    """Write the lease; returns the names of what proves that this run alone may have taken it over."""
    if objects.create(mine.content, LEASE):
        return []
    holder, written = RunLease.read(objects), objects.written_seconds(LEASE)
    if holder is None or written is None:  # it ended just now
        return _take(objects, mine)
    if holder == mine:  # the answer to its creation was lost
        return []
    age = _age(objects, written)
    if age < STALE_SECONDS and not holder.is_dead():
        who = f"process {holder.pid} on {holder.host}, seen {age:.0f} s ago"
        raise OutputBusy(
            f"{objects.address} is being written by another run: {who}; ",
            Remedy(
                "wait for it, or choose another prefix. A run that was killed counts as gone after "
                f"{STALE_SECONDS:.0f} s"
            ),
        )
    claim = _claim(objects, holder, written, mine)
    objects.put(mine.content, LEASE)
    return [claim]


def _claim(objects: Objects, gone: RunLease, written: float, mine: RunLease) -> str:
    """Make the object that only one of several runs can make that find the same holder gone."""
    name = f"{CLAIM}{gone.token or 0}-{written:.0f}"
    while not objects.create(mine.content, name):
        earlier = objects.written_seconds(name)
        if earlier is not None and _age(objects, earlier) < STALE_SECONDS:
            problem = f"{objects.address} is being written by another run, which took over from one that is gone; "
            raise OutputBusy(problem, Remedy("wait for it, or choose another prefix"))
        # Whoever made it ended before it took over.
        name = f"{name}-{earlier or 0:.0f}"
    return name


def _age(objects: Objects, written: float) -> float:
    """Seconds since an object was written, by the store's own clock."""
    probe = f"{WORK}/clock-{uuid4().hex}"
    objects.put(b"", probe)
    try:
        now = objects.written_seconds(probe)
    finally:
        objects.delete([probe])
    return 0.0 if now is None else max(0.0, now - written)
