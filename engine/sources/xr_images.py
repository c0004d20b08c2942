"""The images of a recording: JPEG files that its rows name, in the episode's folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError
from millrace.engine.sources.damage import TooLarge, diagnose_file
from millrace.engine.sources.episode import RowRange, StoredImage
from millrace.engine.sources.image_paths import read_image
from millrace.engine.sources.thrift import Malformed
from millrace.engine.sources.xr_json import ROWS, CutShort, read_pieces

COLORS = "colors"


@dataclass(frozen=True, slots=True)
class RecordedImages:
    """One camera's images of one episode.

    path: the episode's JSON. first_index: of its first row, by which writers name the images; None where they are
    named otherwise. root: the dataset that they must lie in.
    """

    path: Path
    camera: str
    num_frames: int
    first_index: int | None
    root: Path = field(compare=False, repr=False)
    max_spare: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every image's file, as far as their names are known without reading the rows."""
        if self.first_index is None:
            return ()
        first, folder = self.first_index, self.path.parent
        return tuple(folder / usual_name(self.camera, first + number) for number in range(self.num_frames))

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
            path = self._locate(name, number)
            if number == following:
                yield StoredImage(read_image(path, self.root, str(path)), str(path))
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

    def _locate(self, name: object, number: int) -> Path:
        where = f"row {number} of {self.path}"
        if not isinstance(name, str) or not name:
            raise VideoError(f"{where} names no image of '{self.camera}'", code=FaultCode.MISSING, file=self.path)
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            message = f"{where} names an image outside of the episode's folder, {name!r}"
            raise VideoError(message, code=FaultCode.FOREIGN, file=self.path, got=name)
        return self.path.parent / relative


def usual_name(camera: str, index: int) -> str:
    """What writers call a camera's image: xr_teleoperate, teleop/utils/episode_writer.py."""
    return f"{COLORS}/{index:06d}_{camera}.jpg"
