"""The objects of a folder as they were at one time, in a file: a million of them take no memory."""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from millrace.engine.stores.store import StoredObject

SUFFIX = ".listing"
# Of as many datasets of a recipe the list stays open.
NUM_OPEN = 8
TABLE = "CREATE TABLE objects (name TEXT PRIMARY KEY, num_bytes INTEGER, tag TEXT, md5 TEXT) WITHOUT ROWID"
# Values that one statement may hold.
MAX_VALUES = 500


class Listing:
    """An open list of objects, for any thread of this process."""

    def __init__(self, path: Path) -> None:
        # Nobody writes to a file that has this name.
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._objects = sqlite3.connect(address, uri=True, check_same_thread=False)

    def find(self, names: Sequence[str]) -> dict[str, StoredObject]:
        """Those of the names that are objects."""
        found: dict[str, StoredObject] = {}
        for start in range(0, len(names), MAX_VALUES):
            some = names[start : start + MAX_VALUES]
            marks = ",".join("?" * len(some))
            rows = self._objects.execute(f"SELECT * FROM objects WHERE name IN ({marks})", some)
            found |= {row[0]: StoredObject(*row) for row in rows}
        return found

    def names(self, below: str = "") -> Iterator[str]:
        """Yield names, sorted; below: only those in this folder, at any depth."""
        if not below:
            rows = self._objects.execute("SELECT name FROM objects ORDER BY name")
        else:
            asked = "SELECT name FROM objects WHERE name >= ? AND name < ? ORDER BY name"
            rows = self._objects.execute(asked, (f"{below}/", f"{below}0"))  # 0 comes next after /
        return (row[0] for row in rows)

    def has_suffix(self, suffixes: Iterable[str]) -> bool:
        """Whether any name ends so, in any case of letters."""
        ends = [f"%{suffix}" for suffix in suffixes]
        asked = " OR ".join(["name LIKE ?"] * len(ends))
        return self._objects.execute(f"SELECT 1 FROM objects WHERE {asked} LIMIT 1", ends).fetchone() is not None


def open_listing(path: Path) -> Listing:
    """An open listing, the same each time within a process."""
    return _open(path, os.getpid())


@lru_cache(maxsize=NUM_OPEN)
def _open(path: Path, process: int) -> Listing:
    return Listing(path)


def write_listing(objects: Iterable[StoredObject], folder: Path) -> str:
    """Write a listing to `folder`; returns a digest of all objects, which is the name of its file before the suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{uuid4().hex}.unfinished"
    try:
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(TABLE)
            connection.execute("BEGIN")
            rows = ((one.name, one.num_bytes, one.tag, one.md5) for one in objects)
            connection.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            digest = hashlib.sha256()
            for row in connection.execute("SELECT name, num_bytes, tag FROM objects ORDER BY name"):
                digest.update(f"{row!r}\n".encode())
        name = digest.hexdigest()[:32]
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(folder / f"{name}{SUFFIX}")
    finally:
        unfinished.unlink(missing_ok=True)
    return name
