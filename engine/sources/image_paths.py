"""Find image files that rows name by a path, before any of them is read."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.episode import Clip, ImageColumn, Repository, RowRange, SourceEpisode
from millrace.engine.sources.file_state import FileState

IMAGES = "images"
SUFFIXES = (".png", ".jpg", ".jpeg")
# data/chunk-000/file.parquet: its folder, data/ and the dataset's own.
NUM_FOLDERS = 3
# Of a dataset; no rows name a picture in them.
KNOWN_FOLDERS = ("meta", "meta_data", "data", "videos", ".git", ".cache", ".millrace")
# Of a file's name, on all common file systems.
MAX_NAME_BYTES = 255
# Cameras of one robot, whose rows lie in one file.
MAX_KEPT = 8

Clips = Mapping[str, Clip | ImageColumn]


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


def images_digest(episode: SourceEpisode, root: Path) -> str | None:
    """A digest of the image files that an episode's rows name: their paths, sizes and times of change.

    Rows that cannot be read name none, as their episode will fail.

    Args:
        episode: Whose clips are those that are used.
        root: The dataset's folder.

    Returns:
        None where the rows hold the pictures themselves.
    """
    digest, is_empty = hashlib.sha256(), True
    for rows, column in _columns(episode.clips):
        if not _may_have_pictures(rows.path, root):
            continue
        for name in _names(rows if episode.search is None else _whole(rows), column):
            found = ((path, FileState.read(path)) for path in image_candidates(name, rows.path))
            path, state = next(((path, state) for path, state in found if state.is_seen), (None, None))
            told = os.path.relpath(path, root) if path is not None else None
            digest.update(repr((column, name, told, state)).encode())
            is_empty = False
    return None if is_empty else digest.hexdigest()[:16]


def fetch_images(clips: Clips, repository: Repository) -> None:
    """Fetch the image files that an episode's rows name, where the repository has them.

    Args:
        clips: Of the episode; the files of their rows are here.
        repository: Of the dataset.

    Raises:
        HubError: one cannot be had.
    """
    if not repository.has_suffix(SUFFIXES):
        return
    for rows, column in _columns(clips):
        repository.fetch_first([tuple(image_candidates(name, rows.path)) for name in _names(rows, column)])


def _columns(clips: Clips) -> Iterator[tuple[RowRange, str]]:
    """The ranges of rows that hold pictures or their names, and in which column."""
    for _, clip in sorted(clips.items()):
        if isinstance(clip, ImageColumn):
            yield from ((rows, clip.column) for rows in clip.rows)


def _whole(rows: RowRange) -> RowRange:
    """All rows of a file in which an episode's are looked for: where they are expected may be wrong."""
    return replace(rows, start=0, stop=None)


def _may_have_pictures(parquet: Path, root: Path) -> bool:
    """Whether there is anything but rows and videos where pictures are looked for."""
    folders = [folder for folder in parquet.parents[:NUM_FOLDERS] if folder.is_relative_to(root)]
    return any(_holds_pictures(folder, FileState.read(folder)) for folder in folders)


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


def _names(rows: RowRange, column: str) -> list[str]:
    """The paths in a range of rows; none where the file must not or cannot be read, or holds pictures only."""
    if rows.root is not None and why_refused(rows.path, rows.root):
        return []
    try:
        names = _names_in(rows.path, FileState.read(rows.path), column)
    except DAMAGE:
        return []
    return [name for name in names[rows.start : rows.stop] if name]


@lru_cache(maxsize=MAX_KEPT)
def _names_in(path: Path, state: FileState, column: str) -> list[str | None]:
    """The paths in a whole file, which episodes may share; state: of the file, so that the cache notices changes."""
    with CheckedParquet(path) as file:
        return file.read_texts_in(column, "path")
