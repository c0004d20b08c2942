"""The images of a recording: JPEG files that its rows name, in the episode's folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError
from millrace.engine.sources.containment import ANYWHERE
from millrace.engine.sources.damage import TooLarge, diagnose_file
from millrace.engine.sources.episode import RowRange, StoredImage, View
from millrace.engine.sources.image_paths import read_image
from millrace.engine.sources.thrift import Malformed
from millrace.engine.sources.xr_json import ROWS, CutShort, read_pieces

COLORS = "colors"
# ISO/IEC 10918-1, table B.1: markers whose segment has the size of the image.
START_OF_IMAGE = b"\xff\xd8"
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class RecordedImages:
    """One camera's images of one episode.

    path: the episode's JSON. first_index: of its first row, by which writers name the images; None where they are
    named otherwise. view: what of each image is used. root: the dataset that they must lie in.
    """

    path: Path
    camera: str
    num_frames: int
    first_index: int | None
    view: View = "all"
    root: Path = field(default=ANYWHERE, compare=False, repr=False)
    max_spare: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every image's file, as far as their names are known without reading the rows."""
        if self.first_index is None:
            return ()
        first, folder = self.first_index, self.path.parent
        names = (usual_name(self.camera, first + number) for number in range(self.num_frames))
        return tuple(folder / name for name in names if name)

    @property
    def num_stored(self) -> None:
        """None: the rows tell when they are read."""
        return None

    @property
    def video(self) -> None:
        """None."""
        return None

    def with_rows(self, rows: tuple[RowRange, ...]) -> "RecordedImages":
        """The same: where its rows lie is known."""
        return self

    def trim(self, num_frames: int, *, max_spare: int) -> "RecordedImages":
        """The first images, of which `max_spare` more may follow."""
        return replace(self, num_frames=num_frames, max_spare=max_spare)

    def read_images(self, indices: NDArray[np.int64]) -> Iterator[StoredImage]:
        """Yield the images at `indices` (increasing, in [0, num_frames)), in order.

        Raises:
            VideoError: an image is missing, lies elsewhere or cannot be read.
            FrameCountMismatch: there are more or fewer rows than frames.
        """
        wanted, number = iter(indices.tolist()), 0
        following = next(wanted, None)
        for name in self._read_names():
            path = locate_image(self.path, self.camera, name, number)
            if number == following:
                yield StoredImage(read_image(path, self.root, str(path)), str(path), view=self.view)
                following = next(wanted, None)
            elif number < self.num_frames and not os.path.lexists(path):  # nothing else tells that frames were lost
                raise VideoError(f"{path} is missing", code=FaultCode.MISSING, file=path)
            number += 1
        if not self.num_frames <= number <= self.num_frames + self.max_spare:
            message = f"{number} rows in {self.path}, expected {self.num_frames}"
            raise FrameCountMismatch(message, file=self.path, got=number, expected=self.num_frames)

    def _read_names(self) -> Iterator[object]:
        """The camera's entry of each row; None where a row has none."""
        try:
            for key, row in read_pieces(self.path):
                colors = row.get(COLORS) if key == ROWS and isinstance(row, dict) else None
                if key == ROWS:
                    yield colors.get(self.camera) if isinstance(colors, dict) else None
        except CutShort:
            return
        except (Malformed, TooLarge, OSError) as error:
            code, what = diagnose_file(self.path, error)
            raise VideoError(f"{self.path} ", what, code=code, file=self.path) from error


def locate_image(recording: Path, camera: str, name: object, number: int) -> Path:
    """Where the image lies that a row names.

    Args:
        recording: The episode's JSON.
        camera: Whose image it is.
        name: What stands in the row.
        number: Of the row.

    Raises:
        VideoError: the row names none, or one outside of the episode's folder.
    """
    where = f"row {number} of {recording}"
    if not isinstance(name, str) or not name:
        raise VideoError(f"{where} names no image of '{camera}'", code=FaultCode.MISSING, file=recording)
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        message = f"{where} names an image outside of the episode's folder, {name!r}"
        raise VideoError(message, code=FaultCode.FOREIGN, file=recording, got=name)
    return recording.parent / relative


def read_image_size(path: Path, root: Path) -> tuple[int, int] | None:
    """Width and height of a JPEG file by its header; None where that does not tell.

    Raises:
        VideoError: it cannot be read, or must not be.
    """
    content, place = read_image(path, root, str(path)), 2
    while content[:2] == START_OF_IMAGE and place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker in FRAME_HEADERS:
            height, width = (int.from_bytes(content[place + at : place + at + 2], "big") for at in (5, 7))
            return width, height
        place += 2 + max(length, 2)
    return None


def usual_name(camera: str, index: int) -> str | None:
    """What writers call a camera's image (xr_teleoperate, teleop/utils/episode_writer.py); None: it names no file."""
    return None if "/" in camera or "\0" in camera else f"{COLORS}/{index:06d}_{camera}.jpg"
