"""A dataset in an object store, and the folder here that stands for it while it is made."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath

from millrace.embodiments import Remedy
from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.dataset.record import FileRecord, hash_file
from millrace.engine.dataset.writing import finish_file
from millrace.engine.errors import OutputBusy, OutputFailed
from millrace.engine.layout import INFO, LOCK, META, WORK
from millrace.engine.stored.finished_files import FinishedFiles, LedgerMirror
from millrace.engine.stored.lease import hold_lease
from millrace.engine.stored.mirror import SEGMENT, Mirrored, StoredMirror
from millrace.engine.stored.objects import Objects, explain_store_errors, names_of
from millrace.engine.stored.parallel import do_at_once, fetch
from millrace.engine.stored.refresh import bring_up_to_date, forget_run
from millrace.engine.stored.store_mark import StoreMark
from millrace.engine.stores.address import StoreAddress

EPISODE_FOLDERS = ("data", "videos")


def finished_files(root: Path) -> FinishedFiles:
    """Where the finished files lie of the dataset that a folder holds or stands for."""
    mark = StoreMark.find(root)
    if mark is None:
        return FinishedFiles(root)
    return StoredFiles(root, mark.address_of(root), keeps_rows=mark.keeps_rows)


class StoredFiles(FinishedFiles):
    """The finished files of a dataset in an object store.

    Its folder here holds rows, of which statistics are made, and all that is neither rows nor clips. A clip leaves it
    once it is put. Whatever is gone from the folder is fetched where it is needed.
    """

    stage = "upload"

    def __init__(self, root: Path, address: StoreAddress, *, keeps_rows: bool) -> None:
        super().__init__(root)
        self.address, self.keeps_rows = address, keeps_rows

    @cached_property
    def objects(self) -> Objects:
        """The store, which a process connects to when it first needs it."""
        return Objects(self.address)

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        """Bytes of all rows and clips, by one listing."""
        return self._list_sizes()

    def _list_sizes(self) -> dict[str, int]:
        with explain_store_errors():
            listed = chain.from_iterable(map(self.objects.list_below, EPISODE_FOLDERS))
            return {stored.name: stored.num_bytes for stored in listed}

    def accept(self, unfinished: Path, relative: Path, *, digest: str | None = None) -> FileRecord:
        """Put a complete file; rows stay here as well."""
        sha256 = digest or hash_file(unfinished)
        record = FileRecord(path=relative, num_bytes=unfinished.stat().st_size, sha256=sha256)
        with explain_store_errors():
            self.objects.upload_checked(unfinished, relative.as_posix())
        if self._stays(relative):
            return finish_file(unfinished, self.root, relative, digest=sha256)
        unfinished.unlink()
        return record

    def _stays(self, path: Path) -> bool:
        return self.keeps_rows and path.parts[0] == "data"

    def accept_all(self, made: Sequence[tuple[Path, FileRecord]]) -> None:
        """Put complete files, many at a time."""
        do_at_once(lambda one: self.accept(one[0], one[1].path, digest=one[1].sha256), made)

    def why_lost(self, file: FileRecord, *, verify: bool) -> str | None:
        """Why a file is not in the store as it was recorded; verify: fetch and read it."""
        if self._sizes.get(file.path.as_posix()) != file.num_bytes:
            return f"{self.address}/{file.path} is missing or has another size"
        if not verify:
            return None
        (self.root / file.path).unlink(missing_ok=True)
        if not self._fetch_same(file):
            return f"{self.address}/{file.path} has other content"
        self._drop(file)
        return None

    def _fetch(self, file: FileRecord) -> None:
        """Fetch a file unless it is here.

        Raises:
            OutputFailed: it has other content than was recorded.
        """
        place = self.root / file.path
        is_here = place.is_file() and place.stat().st_size == file.num_bytes
        if not is_here and not self._fetch_same(file):
            advice = Remedy("delete that object, then the same command makes it again")
            raise OutputFailed(f"{self.address}/{file.path} has other content than was written; ", advice)

    def _fetch_same(self, file: FileRecord) -> bool:
        """Fetch a file, and whether it has the content that was recorded; else it does not stay."""
        place = self.root / file.path
        with explain_store_errors():
            fetch(self.objects, file.path.as_posix(), place)
        is_same = hash_file(place) == file.sha256
        if not is_same:
            place.unlink()
        return is_same

    def _drop(self, file: FileRecord) -> None:
        if not self._stays(file.path):
            (self.root / file.path).unlink(missing_ok=True)

    def move(self, file: FileRecord, relative: Path) -> FileRecord:
        """Move a file within the store: it is copied there, then deleted."""
        moved: FileRecord = file.model_copy(update={"path": relative})
        with explain_store_errors():
            self.objects.copy(file.path.as_posix(), relative.as_posix())
        if (self.root / file.path).is_file():
            super().move(file, relative)
        self.remove([file.path])
        return moved

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete objects, and what is here of them; info.json first, without which a dataset is visibly unfinished.

        With the ledger's copies all is deleted that is here of their run.
        """
        removed = sorted(paths, key=lambda path: path != Path(INFO))
        first = removed[:1] if Path(INFO) in removed else []
        with explain_store_errors():
            for some in (first, removed[len(first) :]):
                do_at_once(lambda path: self.objects.delete([path.as_posix()]), some)
        super().remove(removed)
        if any(path.as_posix().startswith(SEGMENT) for path in removed):
            forget_run(self.root)

    def find(self, patterns: Sequence[str]) -> Iterator[Path]:
        """Objects that fit a pattern, as they are listed now."""
        wanted = [PurePosixPath(pattern) for pattern in patterns]
        for folder in dict.fromkeys(pattern.parts[0] if len(pattern.parts) > 1 else None for pattern in wanted):
            for path in map(PurePosixPath, self._names_below(folder)):
                if any(len(path.parts) == len(one.parts) and path.match(str(one)) for one in wanted):
                    yield Path(path)

    def _names_below(self, folder: str | None) -> list[str]:
        with explain_store_errors():
            return self.objects.list_names() if folder is None else names_of(self.objects.list_below(folder))

    def names(self) -> list[str]:
        """What lies below the prefix directly, sorted."""
        with explain_store_errors():
            return self.objects.list_names()

    def kept(self, files: Sequence[FileRecord]) -> Sequence[FileRecord]:
        """Those of an episode's files that stay on this machine's disk."""
        return [file for file in files if self._stays(file.path)]

    @contextmanager
    def at_hand(self, files: Iterable[FileRecord]) -> Iterator[None]:
        """Have files in the folder while this lasts; rows stay."""
        fetched: list[FileRecord] = []

        def provide(file: FileRecord) -> None:
            self._fetch(file)
            if not self._stays(file.path):
                fetched.append(file)

        try:
            do_at_once(provide, files)
            yield
        finally:
            for file in fetched:
                self._drop(file)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the prefix, and bring the folder up to date."""
        with ExitStack() as stack:
            with explain_store_errors():
                stack.enter_context(hold_lease(self.objects))
                bring_up_to_date(self.root, self.objects)
            yield

    def refresh(self) -> None:
        """Bring the folder up to date, as no other run of this machine does at this time."""
        (self.root / WORK).mkdir(parents=True, exist_ok=True)
        with explain_store_errors(), lock_folder(self.root, self.root / LOCK):
            bring_up_to_date(self.root, self.objects)

    def mirror(self, ledger: Path) -> LedgerMirror:
        """What copies a ledger of this run into the store."""
        return StoredMirror(ledger, self.root, self.objects)

    def put(self, names: Iterable[str]) -> None:
        """Put files of the folder, many at a time."""
        with explain_store_errors():
            do_at_once(lambda name: self.objects.upload_checked(self.root / name, name), names)

    def publish(self, records: Iterable[FileRecord], beside: Sequence[str]) -> None:
        """Put what lies beside the files in data/ and videos/, once all of these are seen to be there; info.json last.

        Raises:
            OutputFailed: one of them is gone.
        """
        self._check_all(records)
        meta = [f"{META}/{path.name}" for path in sorted((self.root / META).iterdir())]
        *others, manifest = beside
        self.put([*others, *(name for name in meta if name != INFO)])
        self.put([manifest])
        self._check_alone()
        self.put([INFO])

    def _check_alone(self) -> None:
        """Check that no other run has begun again below the prefix, while this one was paused for long."""
        mine = Mirrored.read(self.root)
        with explain_store_errors():
            found = Mirrored.find(self.objects)
        if not set(mine.segments) <= set(found.segments):
            raise OutputBusy(f"{self.address} was taken over by another run")

    def _check_all(self, records: Iterable[FileRecord]) -> None:
        sizes = self._list_sizes()
        for file in records:
            if sizes.get(file.path.as_posix()) != file.num_bytes:
                problem = f"{self.address}/{file.path} was put, but is gone or has another size; "
                raise OutputFailed(problem, Remedy("the same command makes it again"))
