"""One folder of an object store: list, read, download, upload, delete."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from millrace.embodiments import Remedy
from millrace.engine.errors import StoreError
from millrace.engine.stores.address import StoreAddress
from millrace.engine.stores.filesystem import open_file_system
from millrace.engine.stores.store_calls import call_store

Result = TypeVar("Result")

NUM_CONNECTIONS = 16
# Of one object, until its bytes are those that the store lists.
NUM_DOWNLOADS = 4
MD5 = re.compile(r"[0-9a-f]{32}")
# What changes with an object's content, the best first: not every store has an entity tag.
TAGS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
BLOCK_BYTES = 1 << 16
# Schemes, and roots of those, that were found to answer without credentials only.
_anonymous: set[tuple[str, str]] = set()
# Stores whose entity tags look like MD5 and are something else, as those of encrypted objects are.
_tags_are_no_digests: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object below a folder.

    name: its path there. tag: changes with its content. md5: of its content, in hexadecimal digits, where the store
    tells it; None: it does not.
    """

    name: str
    num_bytes: int
    tag: str
    md5: str | None = None


@dataclass(frozen=True)
class Store:
    """A folder of a store, which need not exist. Every call is tried again while its errors may pass.

    All methods raise StoreError, whose message names the address; `kind` says what failed.
    """

    address: StoreAddress

    def list_objects(self) -> Iterator[StoredObject]:
        """Yield all objects below the folder, in no order; folders are listed many at a time.

        Names that no folder could hold, such as those with "..", are left out.
        """
        with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
            waiting: set[Future[tuple[list[StoredObject], list[str]]]] = {pool.submit(self._list_folder, "")}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    objects, folders = future.result()
                    waiting |= {pool.submit(self._list_folder, name) for name in folders}
                    yield from objects

    def list_names(self) -> list[str]:
        """Names of what lies directly in the folder, sorted."""
        objects, folders = self._list_folder("")
        return sorted([*(stored.name for stored in objects), *folders])

    def _list_folder(self, folder: str) -> tuple[list[StoredObject], list[str]]:
        """Objects and names of folders directly in a folder; nothing where there is none."""
        try:
            entries = self._call(lambda system, path: system.ls(path, detail=True), folder)
        except StoreError as error:
            if error.kind != "missing":
                raise
            return [], []
        objects, folders = [], []
        for entry in entries:
            name = self._relative(entry["name"])
            if name is None or name == folder:
                continue
            if entry["type"] == "directory":
                folders.append(name)
            elif not str(entry["name"]).endswith("/"):  # a marker of a folder
                objects.append(_describe(name, entry, self.address.scheme))
        return objects, folders

    def _relative(self, path: str) -> str | None:
        """A path of the store below this folder; None for what no folder could hold."""
        name = path.strip("/").removeprefix(f"{self._path('').strip('/')}/")
        return None if set(name.split("/")) & {"", ".", ".."} or "\0" in name else name

    def head(self, name: str) -> StoredObject | None:
        """What is known of an object; None where there is none."""
        entry = self._find_entry(name)
        is_file = entry is not None and entry["type"] == "file"
        return _describe(name, entry, self.address.scheme) if is_file else None

    def _find_entry(self, name: str) -> Any:
        """What the store's library says of an object; None where there is none."""
        try:
            return self._call(lambda system, path: system.info(path), name)
        except StoreError as error:
            if error.kind != "missing":
                raise
            return None

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of an object; by default all."""
        content: bytes = self._call(lambda system, path: system.cat_file(path, start=start, end=stop), name)
        return content

    def read_through(self, name: str, read: Callable[[BinaryIO], Result], *, block_bytes: int = BLOCK_BYTES) -> Result:
        """What `read` makes of an open object, of which only the ranges are fetched that it reads."""

        def work(system: Any, path: str) -> Result:
            with system.open(path, "rb", block_size=block_bytes) as file:
                return read(file)

        return self._call(work, name)

    def download(self, stored: StoredObject, path: Path) -> None:
        """Write an object to a file, checked by its size, and by its MD5 where the store tells that.

        Raises:
            StoreError: it cannot be had, or arrives with other bytes; kind "changed": it is another than `stored`.
        """
        found: set[str] = set()
        for _ in range(NUM_DOWNLOADS):
            self._call(lambda system, source: system.get_file(source, str(path)), stored.name)
            if path.stat().st_size == stored.num_bytes:
                digest = _md5_of(path)
                if digest == stored.md5 or self._place in _tags_are_no_digests:
                    return
                if stored.md5 is None or digest in found:  # the tag of an encrypted object is no MD5
                    self._check_same(stored)
                    _tags_are_no_digests.update({self._place} if stored.md5 else ())
                    return
                found.add(digest)
            self._check_same(stored)
        where, advice = self.address.join(stored.name), Remedy("the same command goes on once the connection is sound")
        raise StoreError(f"{where} arrives with other bytes than the store lists each time; ", advice, kind="passing")

    def _check_same(self, stored: StoredObject) -> None:
        now = self.head(stored.name)
        if now is None or (now.num_bytes, now.tag) != (stored.num_bytes, stored.tag):
            what = "was deleted" if now is None else "was changed"
            advice = Remedy("the same command plans it again")
            raise StoreError(f"{self.address.join(stored.name)} {what} since it was listed; ", advice, kind="changed")

    def upload(self, path: Path, name: str, *, only_new: bool = False) -> None:
        """Put a file; only_new: unless there is an object of that name with other content.

        Raises:
            StoreError: it cannot be put; kind "exists": there is another.
        """
        mode = {"mode": "create"} if only_new else {}
        self._put(
            lambda system, target: system.put_file(str(path), target, **mode),
            name,
            partial(_md5_of, path),
            path.stat().st_size,
        )

    def put(self, content: bytes, name: str, *, only_new: bool = False) -> None:
        """Put bytes, as `upload` does a file."""
        mode = {"mode": "create"} if only_new else {}
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self._put(lambda system, target: system.pipe_file(target, content, **mode), name, lambda: digest, len(content))

    def _put(self, work: Callable[[Any, str], None], name: str, digest: Callable[[], str], num_bytes: int) -> None:
        try:
            self._call(work, name)
        except StoreError as error:
            # An earlier try may have put it, whose answer was lost.
            there = self.head(name) if error.kind == "exists" else None
            if there is None or there.num_bytes != num_bytes or there.md5 != digest():
                raise

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there count as deleted."""
        for name in names:
            try:
                self._call(lambda system, path: system.rm_file(path), name)
            except StoreError as error:
                if error.kind != "missing":
                    raise

    def _call(self, work: Callable[[Any, str], Result], name: str) -> Result:
        """Run `work` with a file system and the path of a name in it; S3 without credentials, as anybody may."""
        where = self.address.join(name)
        is_anonymous = self._place in _anonymous
        try:
            return call_store(lambda: work(self._open(is_anonymous), self._path(name)), where)
        except StoreError as error:
            if error.kind != "anonymous" or self.address.scheme != "s3":
                raise
            refused = error
        try:
            result = call_store(lambda: work(self._open(True), self._path(name)), where)
        except StoreError as error:
            raise (refused if error.kind == "denied" else error) from None
        _anonymous.add(self._place)
        return result

    def _open(self, is_anonymous: bool) -> Any:
        return open_file_system(self.address, is_anonymous=is_anonymous)

    def _path(self, name: str) -> str:
        path: str = self._open(self._place in _anonymous)._strip_protocol(str(self.address.join(name)))
        return path

    @property
    def _place(self) -> tuple[str, str]:
        return self.address.scheme, self.address.root


def _describe(name: str, entry: Mapping[str, Any], scheme: str) -> StoredObject:
    tag = next((_text(entry[key]) for key in TAGS if entry.get(key)), "")
    return StoredObject(name, int(entry["size"]), tag, _md5(entry, tag if scheme == "s3" else ""))


def _text(value: object) -> str:
    """A tag as text; times of one object come as numbers or dates."""
    return str(value.timestamp() if isinstance(value, datetime) else value).strip('"')


def _md5(entry: Mapping[str, Any], tag: str) -> str | None:
    """An object's MD5, where the store tells it: Google's in base64; S3's tag, of what was put in one piece."""
    told = entry.get("md5Hash")
    if isinstance(told, str):
        return base64.b64decode(told).hex()
    return tag if MD5.fullmatch(tag) else None


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
