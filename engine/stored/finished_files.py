"""Where a dataset's finished files lie: in its folder, or in an object store that a folder here stands for."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace.engine.dataset.record import FileRecord, hash_file
from millrace.engine.dataset.writing import finish_file, move_file


class LedgerMirror:
    """Keeps a copy of a ledger where the dataset's files lie; a ledger in the dataset's own folder needs none."""

    def check(self) -> None:
        """Raise what kept the copy from being made."""

    def put(self) -> None:
        """Copy all lines that were written so far."""

    def close(self) -> None:
        """Copy what is left; the ledger is closed then."""


class FinishedFiles:
    """The finished files of a dataset whose folder holds them all; paths are relative to it."""

    # What `accept` spends its time on.
    stage = "digest"

    def __init__(self, root: Path) -> None:
        self.root = root

    def accept(self, unfinished: Path, relative: Path, *, digest: str | None = None) -> FileRecord:
        """Take a complete file, which leaves its place; digest: its SHA-256, where that is known."""
        return finish_file(unfinished, self.root, relative, digest=digest)

    def accept_all(self, made: Sequence[tuple[Path, FileRecord]]) -> None:
        """Take complete files that are on the disk and described already, each of which leaves its place."""
        for unfinished, file in made:
            move_file(unfinished, self.root / file.path)

    def why_lost(self, file: FileRecord, *, verify: bool) -> str | None:
        """Why a file is not there as it was recorded; None if it is. verify: read it, beside its size."""
        path = self.root / file.path
        if not path.is_file() or path.stat().st_size != file.num_bytes:
            return f"{path} is missing or has another size"
        return f"{path} has other content" if verify and hash_file(path) != file.sha256 else None

    def move(self, file: FileRecord, relative: Path) -> FileRecord:
        """Move a file to another place; returns its record there."""
        move_file(self.root / file.path, self.root / relative)
        moved: FileRecord = file.model_copy(update={"path": relative})
        return moved

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files; those that are not there count as deleted."""
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def find(self, patterns: Sequence[str]) -> Iterator[Path]:
        """Files that fit a pattern, by pattern."""
        for pattern in patterns:
            for path in self.root.glob(pattern):
                yield path.relative_to(self.root)

    def names(self) -> list[str]:
        """Files and folders that lie in it directly, hidden ones too, sorted."""
        return sorted(entry.name for entry in self.root.iterdir()) if self.root.is_dir() else []

    def kept(self, files: Sequence[FileRecord]) -> Sequence[FileRecord]:
        """Those of an episode's files that stay on this machine's disk."""
        return files

    @contextmanager
    def at_hand(self, files: Iterable[FileRecord]) -> Iterator[None]:
        """Have files in the folder while this lasts."""
        yield

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other runs from writing, and have what the folder says of the dataset's state be true; it is locked."""
        yield

    def refresh(self) -> None:
        """Have what the folder says of the dataset's state be true, without a lock: for reading."""

    def mirror(self, ledger: Path) -> LedgerMirror:
        """What copies a ledger of this run."""
        return LedgerMirror()

    def put(self, names: Iterable[str]) -> None:
        """Have files that were written into the folder where the dataset's files lie."""

    def publish(self, records: Iterable[FileRecord], beside: Sequence[str]) -> None:
        """Finish the dataset, once the folder is complete.

        Args:
            records: Of all its files in data/ and videos/.
            beside: Names of files in the folder that belong to it, the manifest last.
        """
