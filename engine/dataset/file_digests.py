"""SHA-256 of files, each computed by one of the processes that share a folder; the others read what it found."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from millrace.engine.dataset.record import hash_file
from millrace.engine.stores.file_locks import lock_file

NUM_DIGITS = 64
NUM_REMEMBERED = 64


@dataclass(frozen=True)
class FileDigests:
    """Digests of the files that one run proves. folder: of that run alone, on a file system of all its workers."""

    folder: Path

    def find(self, path: Path, num_bytes: int, mtime_ns: int) -> str:
        """The SHA-256 of a file of this size and time of change, as hexadecimal digits."""
        return _find(self.folder, path, num_bytes, mtime_ns)


@lru_cache(maxsize=NUM_REMEMBERED)
def _find(folder: Path, path: Path, num_bytes: int, mtime_ns: int) -> str:
    name = hashlib.sha256(repr((str(path), num_bytes, mtime_ns)).encode("utf-8", "surrogateescape")).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+") as file:
        lock_file(file)  # where the system has no locks, two processes may compute the same
        file.seek(0)
        if len(known := file.read()) == NUM_DIGITS:
            return known
        file.truncate(0)  # of a process that was killed as it wrote
        digest = hash_file(path)
        file.write(digest)
        file.flush()
    return digest
