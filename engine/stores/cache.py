"""A bounded cache of objects' files, shared by all processes of a machine: whoever needs room deletes the oldest.

A file appears by a rename once its bytes are checked, so that what has its name is whole. Its time of change is that
of its last use. What a lease names stays, even where the cache is too small for it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError
from millrace.engine.stores.file_locks import lock_file
from millrace.engine.stores.leases import LEASES, LOCK, lock_cache, names_in_use

GIGABYTE = 10**9
DEFAULT_CACHE_GB, MAX_GB = 50, 1e9
# Room that is made beyond what is needed, as a share of the cache: to look through it takes time.
SPARE = 0.1
# Share of the cache that a process fetches before it looks again at what others have fetched.
UNSEEN = 1 / 64
UNFINISHED = "unfinished"
HOME, SIZE = "MILLRACE_CACHE", "MILLRACE_CACHE_GB"


@dataclass
class _Usage:
    """What a process knows of a cache: bytes when it last looked, and that it fetched since."""

    num_bytes: int
    num_fetched: int = 0


_usages: dict[Path, _Usage] = {}


def default_cache_folder() -> Path:
    """$MILLRACE_CACHE, or millrace in the user's folder of caches."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(HOME) or caches / "millrace").absolute()


@dataclass(frozen=True)
class Cache:
    """A folder of files below it, of at most so many bytes, but for what is in use."""

    folder: Path
    max_bytes: int

    @classmethod
    def of_user(cls, gigabytes: float | None = None) -> "Cache":
        """The cache in the user's folder; by default as large as MILLRACE_CACHE_GB says, or 50 GB.

        Raises:
            RecipeError: the variable is no size.
        """
        told = os.environ.get(SIZE) or DEFAULT_CACHE_GB
        try:
            size = float(told) if gigabytes is None else gigabytes
        except ValueError:
            size = -1.0
        if not 0 < size < MAX_GB:
            advice = Remedy(f"set it to a number such as {DEFAULT_CACHE_GB}")
            raise RecipeError(f"{SIZE} is the size of a cache in GB, not {told!r}: ", advice, got=str(told))
        # Whatever lies in it is deleted where room is needed, and the variable may name a folder that others use.
        return cls(default_cache_folder() / "millrace-stores", int(size * GIGABYTE))

    def make_room(self, num_bytes: int) -> None:
        """Delete files that were not used for longest until so many bytes fit in."""
        usage = _usages.get(self.folder)
        if usage is None or usage.num_fetched > self.max_bytes * UNSEEN:
            usage = _usages[self.folder] = _Usage(sum(size for _, size, _ in self._files()))
        if usage.num_bytes + num_bytes > self.max_bytes:
            usage.num_bytes = self._delete_down_to(max(0, int(self.max_bytes * (1 - SPARE)) - num_bytes))
            usage.num_fetched = 0
        usage.num_bytes += num_bytes
        usage.num_fetched += num_bytes

    def _delete_down_to(self, max_bytes: int) -> int:
        """Delete the oldest files until no more bytes are left; returns how many are."""
        with lock_cache(self.folder, is_shared=False):
            used = names_in_use(self.folder)
            files = sorted(self._files())
            left = sum(size for _, size, _ in files)
            for _, size, path in files:
                if left <= max_bytes:
                    break
                if path.relative_to(self.folder).as_posix() not in used and _delete(path, self.folder):
                    left -= size
        return left

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Time of last use in ns, bytes and path of each file; a link to one that is counted counts nothing."""
        seen: set[int] = set()
        for folder, folders, names in os.walk(self.folder):
            if Path(folder) == self.folder:
                folders[:] = [name for name in folders if name != LEASES]
                names = [name for name in names if name != LOCK]
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    state = path.stat()
                    yield state.st_mtime_ns, 0 if state.st_ino in seen else state.st_size, path
                    seen.add(state.st_ino)

    def fill(self, path: Path, is_whole: Callable[[Path], bool], write: Callable[[Path], None]) -> None:
        """Make a file, unless another process makes it at the same time.

        Args:
            path: Of the file, below the folder.
            is_whole: Whether a file is the one that is wanted.
            write: Writes it to a path. It may be ended at any time.
        """
        name = hashlib.sha256(os.fsencode(path)).hexdigest()
        unfinished = self.folder / UNFINISHED / f"{name}{path.suffix}"
        with _locked(unfinished):
            if is_whole(path):
                unfinished.unlink()
                return
            write(unfinished)
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
            _move(unfinished, path)


def _delete(path: Path, folder: Path) -> bool:
    """Delete a file, and its folders where they are empty by then; False where it is being written."""
    if path.parent == folder / UNFINISHED and not _is_abandoned(path):
        return False
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder:
            break
        try:
            parent.rmdir()
        except OSError:
            break
    return True


def _is_abandoned(path: Path) -> bool:
    try:
        with path.open("r+b") as file:  # NFS: to lock a file alone one must write
            return lock_file(file, is_patient=False)
    except FileNotFoundError:
        return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A new or abandoned file, locked: one process writes it, others wait."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except FileNotFoundError:  # the folder was deleted as an empty one
            continue
        with file:
            lock_file(file)
            if _is_at(file, path):
                yield
                return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still what its path names."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _move(unfinished: Path, path: Path) -> None:
    """Give a file its name; its folder may just have been deleted as an empty one."""
    for _ in range(100):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            unfinished.replace(path)
            return
    raise FileNotFoundError(f"{path.parent} is deleted again and again")
