"""Frames of a whole mp4 as RGB, converted in whichever of two ways another reader converts them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from millrace.engine.sources.episode import Clip
from millrace.engine.video.decode import decode_frames


class Reading(Enum):
    """What a frame's values are taken for."""

    LIMITED = "16 to 235"
    FULL = "0 to 255"


# swscale uses a frame's own matrix (BT.601, BT.709) only where PyAV sets the conversion's details, and PyAV sets
# them only where the two ranges differ; that of RGB has no effect on RGB.
_RANGES = {
    Reading.LIMITED: {"dst_color_range": ColorRange.JPEG},
    Reading.FULL: {"src_color_range": ColorRange.JPEG},
}


@dataclass(frozen=True)
class PictureKind:
    """All that decides how a frame becomes RGB; colour tags are H.273's numbers."""

    pix_fmt: str
    width: int
    height: int
    colorspace: int
    color_range: int

    @property
    def readings(self) -> tuple[Reading, Reading]:
        """Both readings, first the one that the tags ask for."""
        if self.color_range == ColorRange.JPEG:
            return Reading.FULL, Reading.LIMITED
        return Reading.LIMITED, Reading.FULL


@dataclass(frozen=True)
class Picture:
    """A decoded frame, not yet converted."""

    frame: av.VideoFrame
    reformatter: VideoReformatter

    @property
    def kind(self) -> PictureKind:
        """What decides its conversion."""
        frame = self.frame
        tags = int(frame.colorspace), int(frame.color_range)
        return PictureKind(frame.format.name, frame.width, frame.height, *tags)

    def rgb(self, reading: Reading) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, where libav wrote it: copied only where its rows are padded."""
        picture = self.reformatter.reformat(self.frame, format="rgb24", **_RANGES[reading])
        (plane,) = picture.planes
        values: NDArray[np.uint8] = np.frombuffer(cast(memoryview, plane), np.uint8)
        rows = values.reshape(picture.height, plane.line_size)
        return rows[:, : picture.width * 3].reshape(picture.height, picture.width, 3)


def decode_pictures(path: Path, indices: NDArray[np.int64], *, num_frames: int) -> Iterator[Picture]:
    """The frames at `indices` (strictly increasing) of an mp4 of `num_frames`, from no more packets than they need.

    Args:
        path: Of the mp4.
        indices: Of the frames.
        num_frames: That it promises.

    Raises:
        VideoError, FrameCountMismatch: see `millrace.engine.video.decode.decode_frames`.
    """
    reformatter = VideoReformatter()
    whole = Clip(path, num_frames, Fraction(1))  # a rate matters to parts of files only
    for frame in decode_frames(whole, indices):
        yield Picture(frame, reformatter)
