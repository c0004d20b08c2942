"""The objects of a dataset in a store: beside what every store does, puts that are proven, copies and times."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from millrace.embodiments import Remedy
from millrace.engine.dataset.record import BLOCK_BYTES
from millrace.engine.errors import OutputFailed, StoreError
from millrace.engine.stores.store import Store, StoredObject

NUM_PUTS = 3
# When an object was written, as file systems call it.
TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


@contextmanager
def explain_store_errors() -> Iterator[None]:
    """Turn errors of the store that a dataset is written to into `OutputFailed`.

    Raises:
        OutputFailed: in place of a StoreError.
    """
    try:
        yield
    except StoreError as error:
        raise OutputFailed(error) from error


class Objects(Store):
    """The objects below a dataset's prefix. All methods raise StoreError."""

    def list_below(self, folder: str) -> Iterator[StoredObject]:
        """Objects below a folder; names are relative to the dataset."""
        for stored in Store(self.address.join(folder)).list_objects():
            yield replace(stored, name=f"{folder}/{stored.name}")

    def read_or_none(self, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        try:
            return self.read(name)
        except StoreError as error:
            if error.kind != "missing":
                raise
            return None

    def fetch(self, name: str, path: Path) -> None:
        """Write an object to a file."""
        stored = self.head(name)
        if stored is None:
            raise StoreError(f"there is no {self.address.join(name)}", kind="missing")
        self.download(stored, path)

    def upload_checked(self, path: Path, name: str) -> None:
        """Put a file, and prove by size and digest that the store has it."""
        digest = _md5_of(path)
        for _ in range(NUM_PUTS):
            self.upload(path, name)
            stored = self.head(name)
            is_whole = stored is not None and stored.num_bytes == path.stat().st_size
            if stored is not None and is_whole and self._holds_same(stored, digest, path):
                return
        where, advice = self.address.join(name), Remedy("the same command goes on once the connection is sound")
        raise StoreError(f"{where} has other bytes each time than were put; ", advice, kind="passing")

    def _holds_same(self, stored: StoredObject, digest: str, path: Path) -> bool:
        """Whether an object holds the same; it is read where its tag, which looks like a digest, may be none."""
        if stored.md5 in (None, digest):
            return True
        copy = path.with_name(f"{path.name}.copy")
        try:
            self.download(stored, copy)
            return _md5_of(copy) == digest
        finally:
            copy.unlink(missing_ok=True)

    def create(self, content: bytes, name: str) -> bool:
        """Put an object unless there is one of that name; whether it was put.

        It is also asked for first, as some stores do not know the condition.
        """
        if self.head(name) is not None:
            return False
        try:
            self.put(content, name, only_new=True)
        except StoreError as error:
            if error.kind != "exists":
                raise
            return False
        return True

    def copy(self, name: str, other: str) -> None:
        """Copy an object within the store."""
        target = self._path(other)
        self._call(lambda system, path: system.cp_file(path, target), name)

    def written_seconds(self, name: str) -> float | None:
        """When an object was written, by the store's clock; None where there is none."""
        entry = self._find_entry(name)
        if entry is None:
            return None
        return _seconds(next((entry[key] for key in TIMES if entry.get(key)), None))


def _seconds(told: Any) -> float:
    if isinstance(told, str):
        told = datetime.fromisoformat(told.replace("Z", "+00:00"))
    return told.timestamp() if isinstance(told, datetime) else float(told or 0)


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def names_of(objects: Iterable[StoredObject]) -> list[str]:
    """The names of objects."""
    return [stored.name for stored in objects]
