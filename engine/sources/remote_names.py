"""Which files of a dataset that is not on this machine its layout reads first, by their names."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from millrace.engine.layout import CAMERA_LEVELS, MANIFEST, META, MODALITY_CONFIG
from millrace.engine.sources.frame_folder import EPISODE, ROWS, SETTINGS
from millrace.engine.sources.parquet import is_hidden, sort_by_number

MAX_CARD_BYTES = 1 << 20
# What a dataset of ours says of its clips, which decides whether one that is copied is decoded.
PUBLISHED = (MANIFEST, f"{META}/episodes_stats.jsonl", CAMERA_LEVELS)


def is_metadata(name: str) -> bool:
    """Whether layouts read a file when they are opened; v1 has no more metadata than its rows."""
    path = PurePosixPath(name)
    if is_hidden(path):
        return False
    is_v1_rows = path.match("data/*.parquet") and len(path.parts) == 2
    is_folder_rows = path.name in ROWS and (len(path.parts) == 1 or EPISODE.fullmatch(path.parts[0]) is not None)
    is_own = is_v1_rows or is_folder_rows or str(path) == SETTINGS
    return path.parts[0] in ("meta", "meta_data") or is_own or str(path) in (MANIFEST, MODALITY_CONFIG)


def is_visible(name: str) -> bool:
    """Whether no part of a name begins with a dot."""
    return not is_hidden(PurePosixPath(name))


def row_files(root: Path, names: Iterable[str], pattern: str) -> list[Path]:
    """The files below a dataset's root whose names fit a pattern, in the order of their numbers."""
    depth = len(PurePosixPath(pattern).parts)
    paths = [path for path in map(PurePosixPath, names) if not is_hidden(path)]
    return sort_by_number(root / path for path in paths if len(path.parts) == depth and path.match(pattern))
