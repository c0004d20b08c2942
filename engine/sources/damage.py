"""Diagnose a file that cannot be read: an error of the system, or damage, by the file's two ends."""

import errno
import os
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from millrace.embodiments import Message, MillraceError
from millrace.engine.errors import OF_SYSTEM, FaultCode, system_errno
from millrace.engine.sources.access import why_unreadable
from millrace.engine.sources.lfs import REASON, is_lfs_pointer

PARQUET = b"PAR1"  # begins and ends a parquet file
HDF5 = b"\x89HDF\r\n\x1a\n"
# Bytes from a HDF5 file's begin to the address of its end, by the version of its superblock (HDF5 format, II.A).
HDF5_END_PLACES = {0: 40, 1: 44, 2: 28, 3: 28}
# Real mp4 files have a handful of boxes; a hostile one could have a billion.
MAX_BOXES = 10_000
BLOCK_BYTES = 1 << 20
# The most that is read to see whether a disk works.
MAX_BYTES = 4 << 30


class TooLarge(MillraceError, ValueError):
    """A read takes more memory than it may, though the file may be sound. Says the limit and what to do."""


def diagnose_file(path: Path, error: BaseException, *, certain: Container[int] = OF_SYSTEM) -> tuple[FaultCode, str]:
    """Diagnose a file that a library could not read: its fault code, and what to say after its path.

    Args:
        path: Of the file.
        error: The library's.
        certain: Error numbers that the library only passes on from the system, and never uses for damage.
    """
    if isinstance(error, TooLarge):
        return FaultCode.TOO_LARGE, Message("is too large: ", error)
    number = system_errno(error)
    if number is not None:
        refused = error if number in certain else find_unreadable([path])
        if isinstance(refused, OSError):
            return FaultCode.UNREADABLE, why_unreadable(path, refused)
    if is_lfs_pointer(path):
        return FaultCode.MISSING, REASON
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
    return classify_damage(path), f"is truncated or corrupt ({reason})"


def find_unreadable(paths: Iterable[Path]) -> OSError | None:
    """The system's error for the first file that cannot be read to its end; None if all can."""
    for path in paths:
        try:
            with path.open("rb", buffering=0) as file:
                _read_stored(file)
        except OSError as error:
            if system_errno(error) is not None:
                return error if error.filename else OSError(error.errno, os.strerror(error.errno or 0), str(path))
    return None


def _read_stored(file: BinaryIO) -> None:
    """Read a file to its end without its holes: a sparse file may claim terabytes."""
    place = 0
    while place < MAX_BYTES:
        try:
            place = os.lseek(file.fileno(), place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data follows
                return
            raise
        num_bytes = len(file.read(BLOCK_BYTES))
        if not num_bytes:
            return
        place += num_bytes


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Add the file's name to errors of the system that lack one, such as those of libraries.

    Raises:
        OSError: with a filename, in place of one without.
    """
    try:
        yield
    except OSError as error:
        is_known = error.errno in OF_SYSTEM or error.errno == errno.ENOENT
        if not is_known or isinstance(error.filename, (str, bytes, Path)):
            raise
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error


def classify_damage(path: Path) -> FaultCode:
    """The fault code of a damaged file: truncated where its structure says that more should follow, else corrupt."""
    try:
        if is_lfs_pointer(path):
            return FaultCode.MISSING
        with path.open("rb") as file:
            return FaultCode.TRUNCATED if _is_cut_short(file, os.fstat(file.fileno()).st_size) else FaultCode.CORRUPT
    except FileNotFoundError:
        return FaultCode.MISSING
    except OSError:
        return FaultCode.UNREADABLE


def _is_cut_short(file: BinaryIO, num_bytes: int) -> bool:
    begin = file.read(8)
    if begin.startswith(PARQUET):
        file.seek(-len(PARQUET), os.SEEK_END)
        return file.read() != PARQUET or num_bytes < 2 * len(PARQUET)
    if begin[4:] == b"ftyp":
        return _end_of_boxes(file, num_bytes) > num_bytes
    if begin == HDF5:
        return _end_of_hdf5(file) > num_bytes
    return num_bytes == 0


def _end_of_hdf5(file: BinaryIO) -> int:
    """Where an HDF5 file of addresses of 8 bytes says that it ends; 0 where it does not say so."""
    file.seek(0)
    head = file.read(64)
    place = HDF5_END_PLACES.get(head[8] if len(head) > 8 else -1)
    if place is None:
        return 0 if len(head) > 8 else len(head) + 1
    return int.from_bytes(head[place : place + 8], "little") if len(head) >= place + 8 else place + 8


def _end_of_boxes(file: BinaryIO, num_bytes: int) -> int:
    """Where the last box of an mp4 should end (ISO/IEC 14496-12, 4.2: size, type, for size 1 a larger size)."""
    place = 0
    for _ in range(MAX_BOXES):
        if place >= num_bytes:
            break
        file.seek(place)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if len(head) < 8:
            return place + 8
        if size < 8:  # 0: to the end of the file; less than its own head: no box
            break
        place += size
    return place
