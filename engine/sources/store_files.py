"""Datasets in object stores: a list of the objects and metadata first, any other file when an episode needs it."""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from millrace.embodiments import Remedy
from millrace.engine.errors import DatasetError, StoreError
from millrace.engine.hub.calls import map_at_once
from millrace.engine.layout import CARD, INFO, MANIFEST
from millrace.engine.sources.checked_parquet import DAMAGE
from millrace.engine.sources.footer import read_num_rows
from millrace.engine.sources.parquet import count_rows
from millrace.engine.sources.remote_names import MAX_CARD_BYTES, PUBLISHED, is_metadata, is_visible, row_files
from millrace.engine.sources.store_contents import check_finished, describe_other_folder
from millrace.engine.sources.thrift import Malformed
from millrace.engine.stores.address import StoreAddress
from millrace.engine.stores.cache import Cache
from millrace.engine.stores.file_locks import lock_file
from millrace.engine.stores.leases import current_lease, holding_block, lock_cache
from millrace.engine.stores.object_listing import SUFFIX, Listing, open_listing, write_listing
from millrace.engine.stores.store import Store, StoredObject

LOCK = "listing.lock"
# Of a folder in the cache; what is longer is cut.
MAX_NAME = 100
# Earlier states of the same dataset of which files are taken that did not change since.
NUM_EARLIER = 3


@dataclass(frozen=True)
class StoreFolder:
    """A dataset's folder in a store, in the state in which it was listed.

    listing: a digest of all its objects. cache: at the same path on every machine.
    beside: files that whoever reads an episode may need as well.
    """

    address: StoreAddress
    listing: str
    cache: Cache
    beside: tuple[Path, ...] = ()

    @property
    def root(self) -> Path:
        """Where its files lie in the cache; called as the folder in the store."""
        return _home(self.address, self.cache) / self.listing / self.address.name[:MAX_NAME]

    def fetch(self, paths: Iterable[Path]) -> None:
        """Fetch files that are not in the cache; those that the store does not have are left to whoever reads them.

        Raises:
            StoreError: one cannot be had, or was changed since it was listed.
        """
        self._fetch_names(map(self._inside, (*self.beside, *paths)))

    def fetch_rows(self, folder: Path) -> None:
        """Fetch all parquet files below a folder that are not in the cache.

        Raises:
            StoreError: as for `fetch`.
        """
        below = self._open_listing().names(self._inside(folder))
        self._fetch_names(name for name in below if name.endswith(".parquet"))

    def fetch_first(self, candidates: Iterable[Sequence[Path]]) -> None:
        """For each group of paths, fetch the first that the store has, if any, unless the cache holds it.

        Raises:
            StoreError: as for `fetch`.
        """
        groups = [[self._inside(path) for path in some] for some in candidates]
        known = self._open_listing().find([name for names in groups for name in names])
        found = (next((name for name in names if name in known), None) for names in groups)
        self._fetch_names(name for name in found if name is not None)

    def has_suffix(self, suffixes: tuple[str, ...]) -> bool:
        """Whether any object has such a suffix."""
        return self._open_listing().has_suffix(suffixes)

    def content_state(self, path: Path) -> str:
        """Text that changes if a file's content does: its size and the store's tag."""
        stored = self.find(path)
        return "missing" if stored is None else f"{stored.num_bytes} bytes, {stored.tag}"

    def holding_files(self) -> AbstractContextManager[None]:
        """Keep files that are fetched within this block in the cache until it ends."""
        return holding_block()

    def find(self, path: Path) -> StoredObject | None:
        """What was listed of a file; None where there is none."""
        name = self._inside(path)
        return self._open_listing().find([name]).get(name)

    def names(self) -> Iterable[str]:
        """Names of all objects, sorted."""
        return self._open_listing().names()

    def _inside(self, path: Path) -> str:
        """A file as the store calls it; empty for what lies elsewhere."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else ""

    def _fetch_names(self, names: Iterable[str]) -> None:
        found = self._open_listing().find(list(dict.fromkeys(names)))
        lease, home = current_lease(self.cache.folder), self.root.relative_to(self.cache.folder)
        with lock_cache(self.cache.folder, is_shared=True):
            lease.add([self._listing_name, *((home / name).as_posix() for name in found)])
            missing = [stored for stored in found.values() if not self._use(stored)]
        if missing:
            self.cache.make_room(sum(stored.num_bytes for stored in missing))
            map_at_once(self._download, missing)

    def _use(self, stored: StoredObject) -> bool:
        """Whether an object's file is here, whole; if so, it is used now."""
        path = self.root / stored.name
        with suppress(OSError):
            if path.stat().st_size == stored.num_bytes:
                os.utime(path)
                return True
        return False

    def _download(self, stored: StoredObject) -> None:
        def write(path: Path) -> None:
            if not self._take_earlier(stored, path):
                Store(self.address).download(stored, path)

        try:
            self.cache.fill(self.root / stored.name, lambda path: self._use(stored), write)
        except StoreError as error:
            error.about(file=self.root / stored.name)
            raise

    def _take_earlier(self, stored: StoredObject, path: Path) -> bool:
        """Take the file of an earlier state of the dataset, where the object is the same."""
        home = _home(self.address, self.cache)
        listings = sorted(home.glob(f"*{SUFFIX}"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for listing in listings[: NUM_EARLIER + 1] if stored.tag else ():
            before = home / listing.stem / self.root.name / stored.name
            with suppress(OSError, sqlite3.Error):
                if before.stat().st_size == stored.num_bytes and open_listing(listing).find([stored.name]) == {
                    stored.name: stored
                }:
                    link = path.with_name(uuid4().hex)
                    os.link(before, link)
                    link.replace(path)
                    return True
        return False

    @property
    def _listing_name(self) -> str:
        return (_home(self.address, self.cache) / f"{self.listing}{SUFFIX}").relative_to(self.cache.folder).as_posix()

    def _open_listing(self) -> Listing:
        """The list of objects; a machine that does not have it lists them once more.

        Raises:
            StoreError: the store cannot be listed, or what it holds was changed since.
        """
        path = self.cache.folder / self._listing_name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            with (path.parent / LOCK).open("a") as file:
                lock_file(file)
                if (
                    not path.is_file()
                    and write_listing(Store(self.address).list_objects(), path.parent) != self.listing
                ):
                    advice = Remedy("the same command plans it again")
                    raise StoreError(f"{self.address} was changed since the run began; ", advice, kind="changed")
        return open_listing(path)


@dataclass(frozen=True)
class StoreFiles:
    """The files of a dataset in a store, most of them not here."""

    repo: StoreFolder

    def bounds(self, root: Path) -> Path:
        """The folder in the cache, where there are no links."""
        return root

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""
        stored = self.repo.find(path)
        return None if stored is None else stored.num_bytes

    def state(self, path: Path) -> object:
        """What changes if a file does."""
        return self.repo.content_state(path)

    def fetch_all(self) -> None:
        """Fetch every file that is not in the cache, but for hidden ones.

        Raises:
            StoreError: one cannot be had.
        """
        self.repo.fetch(map(self.repo.root.joinpath, filter(is_visible, self.repo.names())))

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file; of those that are not here, only the footer is read."""
        paths = row_files(root, self.repo.names(), pattern)
        if not paths:
            raise DatasetError(f"{self.repo.address} has no parquet file below data/")
        return dict(zip(paths, map_at_once(self._count_rows, paths), strict=True))

    def _count_rows(self, path: Path) -> int | DatasetError:
        if path.is_file():
            return count_rows([path])[path]
        name = path.relative_to(self.repo.root).as_posix()
        try:
            found = Store(self.repo.address).read_through(name, _read_num_rows)
            if isinstance(found, Malformed):  # raised there, it would count as the store's
                raise found
            return found
        except DAMAGE as error:
            return DatasetError(f"{self.repo.address.join(name)} is truncated or corrupt ({error})", file=path)


def _read_num_rows(file: BinaryIO) -> int | Malformed:
    try:
        return read_num_rows(file)
    except Malformed as error:
        return error


def open_store(address: StoreAddress, cache: Cache) -> StoreFiles:
    """List a dataset's objects as they are now, and fetch its metadata.

    Raises:
        StoreError: there is no such bucket, it may not be read, or it cannot be reached.
        DatasetError: there is no metadata, or not yet.
    """
    listing = write_listing(Store(address).list_objects(), _home(address, cache))
    folder = StoreFolder(address, listing, cache)
    if folder.find(folder.root / INFO) is None:
        check_finished(address)
    wanted = [name for name in folder.names() if is_metadata(name)]
    if not wanted:
        raise describe_other_folder(address, folder.names())
    folder.fetch(map(folder.root.joinpath, wanted))
    card = folder.find(folder.root / CARD)
    if card is not None and card.num_bytes < MAX_CARD_BYTES:
        with suppress(StoreError):  # it states the licence, without which the dataset is read as well
            folder.fetch([folder.root / CARD])
    published = [folder.root / name for name in PUBLISHED]
    is_ours = folder.find(folder.root / MANIFEST) is not None
    beside = tuple(path for path in published if is_ours and folder.find(path) is not None)
    return StoreFiles(replace(folder, beside=beside))


def fetch_finished(address: StoreAddress, cache: Cache) -> Path:
    """Fetch all of a dataset; its folder in the cache, where it stays while this process lives.

    Raises:
        StoreError: it cannot be had.
        DatasetError: there is no metadata, or not yet.
    """
    files = open_store(address, cache)
    files.fetch_all()
    return files.repo.root


def _home(address: StoreAddress, cache: Cache) -> Path:
    """Where a dataset's listings and its files in every state lie in the cache."""
    return cache.folder / "stores" / hashlib.sha256(str(address).encode()).hexdigest()[:16]
