"""Move complete files to their place, so that no reader and no later run sees a partial file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millrace.embodiments import Message, Remedy
from millrace.engine.dataset.record import FileRecord, hash_file
from millrace.engine.errors import OutputFailed
from millrace.engine.sources import name_file_in_errors
from millrace.engine.sources.access import system_reason

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What only writing can fail with, whatever file an error names.
WRITE_ERRORS = (*FULL, errno.EROFS)
# Of file systems that cannot sync a folder.
CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def finish_file(unfinished: Path, out: Path, relative: Path, *, digest: str | None = None) -> FileRecord:
    """Move a complete file to its place in `out`, and describe it; digest: its SHA-256, where that is known."""
    with name_file_in_errors(unfinished):
        num_bytes, sha256 = unfinished.stat().st_size, digest or hash_file(unfinished)
    record = FileRecord(path=relative, num_bytes=num_bytes, sha256=sha256)
    sync_file(unfinished)
    move_file(unfinished, out / relative)
    return record


def move_file(path: Path, final: Path) -> None:
    """Move a file by a rename; makes its folder."""
    final.parent.mkdir(parents=True, exist_ok=True)
    path.replace(final)


def sync_file(path: Path) -> None:
    """Flush a file to disk, so that a power cut does not leave it empty behind a rename."""
    with name_file_in_errors(path), path.open("rb") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Flush a folder to disk with all that lies in it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync_folder(path) if path.is_dir() else sync_file(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a power cut does not undo renames in it, if its file system supports that."""
    with name_file_in_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in CANNOT_SYNC:
                raise
        finally:
            with suppress(OSError):
                os.close(handle)


@contextmanager
def explain_write_errors(out: Path) -> Iterator[None]:
    """Turn errors for lack of space, or below `out`, into `OutputFailed`, which says so.

    Raises:
        OutputFailed: in place of such an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in WRITE_ERRORS or _lies_below(error.filename, out):
            raise OutputFailed(_explain(error, out), file=out) from error
        raise


def _lies_below(filename: object, out: Path) -> bool:
    return isinstance(filename, (str, Path)) and Path(filename).absolute().is_relative_to(out.absolute())


def _explain(error: OSError, out: Path) -> str:
    again = "the same command goes on where this one stopped"
    if error.errno in FULL:
        return Message(f"no space is left for {out} ({system_reason(error)}); ", Remedy(f"make some, then {again}"))
    reason = f"{out} cannot be written to ({system_reason(error)}: {error.filename}); "
    return Message(reason, Remedy(f"once it can, {again}"))
