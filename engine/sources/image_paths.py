"""Find and read image files that rows name by a path: PNG or JPEG files in the dataset's own folder."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.file_state import FileState
from millrace.engine.sources.lfs import POINTER, REASON

IMAGES = "images"
SUFFIXES = (".png", ".jpg", ".jpeg")
# data/chunk-000/file.parquet: its folder, data/ and the dataset's own.
NUM_FOLDERS = 3
# No camera's image is larger.
MAX_BYTES = 256 << 20
# Of a dataset; no rows name a picture in them.
KNOWN_FOLDERS = ("meta", "meta_data", "data", "videos", ".git", ".cache", ".millrace")
# Of a file's name, on all common file systems.
MAX_NAME_BYTES = 255
# Cameras of one robot, whose rows lie in one file.
MAX_KEPT = 8


def image_candidates(name: str, parquet: Path) -> Iterator[Path]:
    """Where an image may lie that a row names; a path that leads up or is absolute is none.

    Args:
        name: Relative to the dataset's folder, to its images/, or to the parquet file.
        parquet: The file of the row.
    """
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        return
    if any(len(part.encode()) > MAX_NAME_BYTES for part in relative.parts):
        return
    for folder in reversed(parquet.parents[:NUM_FOLDERS]):
        yield folder / relative
        yield folder / IMAGES / relative


def read_image_file(name: str, rows: RowRange, where: str) -> bytes:
    """Read the image file that a row names.

    Args:
        name: Relative to the dataset's folder, to its images/, or to the parquet file.
        rows: The rows that name it.
        where: The row, for errors.

    Raises:
        VideoError: there is no such file, or it must not be opened or cannot be read.
    """
    candidates = list(image_candidates(name, rows.path))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        message = f"{where} holds no image, and {name!r}, which it names, is not there"
        raise VideoError(message, code=FaultCode.MISSING, file=rows.path, got=name)
    return read_image(path, rows.root or rows.path.parents[NUM_FOLDERS - 1], f"{where} names {path}, which")


def read_image(path: Path, root: Path, named: str) -> bytes:
    """Read an image file.

    Args:
        path: Of the file.
        root: The folder that it must lie in.
        named: What errors call it.

    Raises:
        VideoError: there is no such file, or it must not be opened or cannot be read.
    """
    if refusal := why_refused(path, root):
        raise VideoError(f"{named} ", refusal.reason, code=refusal.code, file=path)
    try:
        if (num_bytes := path.stat().st_size) > MAX_BYTES:
            raise VideoError(f"{named} is larger than {MAX_BYTES} bytes", file=path, got=num_bytes, expected=MAX_BYTES)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise VideoError(f"{named} is missing", code=FaultCode.MISSING, file=path) from error
    except OSError as error:
        code, what = diagnose_file(path, error)
        raise VideoError(f"{path} ", what, code=code, file=path) from error
    if content.startswith(POINTER):
        raise VideoError(f"{named} ", REASON, code=FaultCode.MISSING, file=path)
    return content


def may_have_images(parquet: Path, root: Path) -> bool:
    """Whether there is anything but rows and videos where pictures are looked for."""
    folders = [folder for folder in parquet.parents[:NUM_FOLDERS] if folder.is_relative_to(root)]
    return any(_holds_pictures(folder, FileState.read(folder)) for folder in folders)


def read_image_names(rows: RowRange, column: str) -> list[str]:
    """The paths in a range of rows; none where the file must not or cannot be read, or holds pictures only."""
    if rows.root is not None and why_refused(rows.path, rows.root):
        return []
    try:
        names = _names_in(rows.path, FileState.read(rows.path), column)
    except DAMAGE:
        return []
    return [name for name in names[rows.start : rows.stop] if name]


@lru_cache(maxsize=MAX_KEPT)
def _holds_pictures(folder: Path, state: FileState) -> bool:
    """state: of the folder, so that what is remembered is of now."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_beside(entry) for entry in entries)
    except OSError:  # whoever reads rows there says so
        return False


def _is_beside(entry: "os.DirEntry[str]") -> bool:
    if entry.name.lower().endswith(SUFFIXES):
        return True
    return entry.name not in KNOWN_FOLDERS and not entry.name.startswith("chunk-") and entry.is_dir()


@lru_cache(maxsize=MAX_KEPT)
def _names_in(path: Path, state: FileState, column: str) -> list[str | None]:
    """The paths in a whole file, which episodes may share; state: of the file, so that the cache notices changes."""
    with CheckedParquet(path) as file:
        return file.read_texts_in(column, "path")
