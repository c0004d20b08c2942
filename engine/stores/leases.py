"""Which cached files are in use: each user keeps a file with their names, locked while it lives."""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from uuid import uuid4

from millrace.engine.stores.file_locks import lock_file

LEASES, LOCK = "leases", "lock"


class Lease:
    """Names of cached files that must stay until it is closed, or its process ends, however that ends."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        (folder / LEASES).mkdir(parents=True, exist_ok=True)
        self._path = folder / LEASES / f"{self.process}-{uuid4().hex}"
        self._file = self._path.open("a", encoding="utf-8")
        lock_file(self._file)
        self._names: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Keep further files."""
        new = [name for name in dict.fromkeys(names) if name not in self._names]
        self._names.update(new)
        self._file.writelines(f"{name}\n" for name in new)
        self._file.flush()

    def close(self) -> None:
        """Keep nothing any more."""
        if self.process == os.getpid():
            self._path.unlink(missing_ok=True)
        self._file.close()


# By cache: those of the blocks that this thread is in, and one for the rest of the process.
_in_block: ContextVar[dict[Path, Lease] | None] = ContextVar("leases", default=None)
_of_process: dict[Path, Lease] = {}


@contextmanager
def holding_block() -> Iterator[None]:
    """Keep files that are fetched within this block until it ends; without a block, until the process ends."""
    leases: dict[Path, Lease] = {}
    token = _in_block.set(leases)
    try:
        yield
    finally:
        _in_block.reset(token)
        for lease in leases.values():
            lease.close()


def current_lease(folder: Path) -> Lease:
    """The lease of the block that this thread is in, or of the process."""
    leases = _in_block.get()
    leases = _of_process if leases is None else leases
    if folder not in leases or leases[folder].process != os.getpid():  # a child has its parent's
        leases[folder] = Lease(folder)
        if leases is _of_process:
            atexit.register(leases[folder].close)
    return leases[folder]


@contextmanager
def lock_cache(folder: Path, *, is_shared: bool) -> Iterator[None]:
    """Wait for a cache's lock: shared by those who take files into use, alone by whoever deletes some."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:  # NFS: to share a lock one must read
        lock_file(file, is_shared=is_shared)
        yield


def names_in_use(folder: Path) -> set[str]:
    """Names in all leases whose users live; those of others are deleted. The caller has the lock alone."""
    names: set[str] = set()
    for path in (folder / LEASES).glob("*"):
        with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
            if lock_file(file, is_shared=True, is_patient=False):
                path.unlink(missing_ok=True)
            else:
                names.update(file.read().splitlines())
    return names
