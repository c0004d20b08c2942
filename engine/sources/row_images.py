"""Images that lie in rows, or that rows name by a path: a PNG or JPEG file each."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError
from millrace.engine.sources.checked_parquet import DAMAGE
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.episode import Camera, Repository, RowRange, SourceEpisode, StoredImage
from millrace.engine.sources.file_state import FileState
from millrace.engine.sources.image_paths import (
    SUFFIXES,
    image_candidates,
    may_have_images,
    read_image_file,
    read_image_names,
)
from millrace.engine.sources.row_stream import open_image_stream


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """One camera's images of one episode, PNG or JPEG files inside its rows.

    max_spare: rows that may follow, and are left out.
    """

    rows: tuple[RowRange, ...]
    column: str
    num_frames: int
    max_spare: int = 0

    @property
    def num_stored(self) -> None:
        """None."""
        return None

    @property
    def paths(self) -> tuple[Path, ...]:
        """None of its own: they are those of the rows."""
        return ()

    @property
    def video(self) -> None:
        """None."""
        return None

    def with_rows(self, rows: tuple[RowRange, ...]) -> "ImageColumn":
        """The images in rows at another place."""
        return replace(self, rows=rows)

    def trim(self, num_frames: int, *, max_spare: int) -> "ImageColumn":
        """The first images, of which `max_spare` more may follow."""
        return replace(self, num_frames=num_frames, max_spare=max_spare)

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        """Yield the images at `indices` (increasing, in [0, num_frames)), in order.

        Raises:
            VideoError: an image is missing or cannot be read.
            FrameCountMismatch: there are fewer or more rows than frames.
        """
        wanted, number = set(indices.tolist()), 0
        for rows in self.rows:
            for value in _image_values(rows, self.column):
                if number in wanted:
                    yield _read_image(value, rows, f"'{self.column}' in row {number} of {rows}")
                number += 1
        if not self.num_frames <= number <= self.num_frames + self.max_spare:
            message = f"{number} rows of '{self.column}', expected {self.num_frames}"
            raise FrameCountMismatch(message, got=number, expected=self.num_frames)


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
        if not may_have_images(rows.path, root):
            continue
        for name in read_image_names(rows if episode.search is None else _whole(rows), column):
            found = ((path, FileState.read(path)) for path in image_candidates(name, rows.path))
            path, state = next(((path, state) for path, state in found if state.is_seen), (None, None))
            told = os.path.relpath(path, root) if path is not None else None
            digest.update(repr((column, name, told, state)).encode())
            is_empty = False
    return None if is_empty else digest.hexdigest()[:16]


def fetch_images(clips: Mapping[str, Camera], repository: Repository) -> None:
    """Fetch the image files that an episode's rows name, where the repository has them.

    Args:
        clips: Of the episode; the files of their rows are here.
        repository: Of the dataset.

    Raises:
        HubError, StoreError: one cannot be had.
    """
    if not repository.has_suffix(SUFFIXES):
        return
    for rows, column in _columns(clips):
        repository.fetch_first([tuple(image_candidates(name, rows.path)) for name in read_image_names(rows, column)])


def _columns(clips: Mapping[str, Camera]) -> Iterator[tuple[RowRange, str]]:
    """The ranges of rows that hold pictures or their names, and in which column."""
    for _, clip in sorted(clips.items()):
        if isinstance(clip, ImageColumn):
            yield from ((rows, clip.column) for rows in clip.rows)


def _whole(rows: RowRange) -> RowRange:
    """All rows of a file in which an episode's are looked for: where they are expected may be wrong."""
    return replace(rows, start=0, stop=None)


def _image_values(rows: RowRange, column: str) -> Iterator[pa.Scalar]:
    """The column's values of a range of rows, a batch in memory at a time; rows beyond are not read."""
    if rows.root is not None and (refusal := why_refused(rows.path, rows.root)):
        raise VideoError(f"{rows.path} ", refusal.reason, code=refusal.code, file=rows.path)
    try:
        with open_image_stream(rows.path, column) as stream:
            stop = stream.num_rows if rows.stop is None else min(rows.stop, stream.num_rows)
            for batch in stream.read_batches(rows.start, stop) if rows.start < stop else ():
                yield from batch.column(0)
    except (*DAMAGE, LookupError) as error:
        code, what = diagnose_file(rows.path, error)
        raise VideoError(f"'{column}' of {rows} ", what, code=code, file=rows.path) from error


def _read_image(image: pa.Scalar, rows: RowRange, where: str) -> StoredImage:
    try:
        value = image.as_py()
    except ValueError as error:  # the path beside it is no UTF-8
        raise VideoError(f"{where} is corrupt ({error})", file=rows.path) from error
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None and isinstance(value, dict) and isinstance(value.get("path"), str):
        content = read_image_file(value["path"], rows, where)
    if not isinstance(content, bytes):
        raise VideoError(f"{where} holds no image", code=FaultCode.MISSING, file=rows.path)
    return StoredImage(content, where)
