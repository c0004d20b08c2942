"""How a file that cannot be read is damaged, told from its first and last bytes."""

import os
from pathlib import Path
from typing import BinaryIO

from engine.faults import FaultCode
from engine.lfs import is_lfs_pointer

PARQUET = b"PAR1"  # begins and ends a parquet file
# Real mp4 files have a handful of boxes; a hostile one could have a billion.
MAX_BOXES = 10_000


def damage(path: Path) -> FaultCode:
    """Truncated where the file's own structure says that more should follow, else corrupt."""
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
    return num_bytes == 0


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
