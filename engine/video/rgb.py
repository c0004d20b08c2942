"""Decode frames of a whole mp4 to RGB, by either reading of their value range."""

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

from millrace.engine.sources import Clip
from millrace.engine.video.decode import decode_frames


class ValueRange(Enum):
    """The range that a frame's values are read as."""

    LIMITED = "16 to 235"
    FULL = "0 to 255"


# swscale uses a frame's own matrix (BT.601, BT.709) only where PyAV sets the conversion's details, and PyAV sets
# them only where the two ranges differ; that of RGB has no effect on RGB.
_RANGES = {
    ValueRange.LIMITED: {"dst_color_range": ColorRange.JPEG},
    ValueRange.FULL: {"src_color_range": ColorRange.JPEG},
}


@dataclass(frozen=True)
class FrameKind:
    """All that decides how a frame becomes RGB; colour tags are H.273's numbers."""

    pix_fmt: str
    width: int
    height: int
    colorspace: int
    color_range: int

    @property
    def ranges(self) -> tuple[ValueRange, ValueRange]:
        """Both ranges, first the one that the tags name."""
        if self.color_range == ColorRange.JPEG:
            return ValueRange.FULL, ValueRange.LIMITED
        return ValueRange.LIMITED, ValueRange.FULL


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame, not yet converted."""

    frame: av.VideoFrame
    reformatter: VideoReformatter

    @property
    def kind(self) -> FrameKind:
        """All that decides its conversion to RGB."""
        frame = self.frame
        tags = int(frame.colorspace), int(frame.color_range)
        return FrameKind(frame.format.name, frame.width, frame.height, *tags)

    def to_rgb(self, value_range: ValueRange) -> NDArray[np.uint8]:
        """Convert to (H, W, 3) uint8 RGB; copied only where libav pads its rows."""
        image = self.reformatter.reformat(self.frame, format="rgb24", **_RANGES[value_range])
        (plane,) = image.planes
        values: NDArray[np.uint8] = np.frombuffer(cast(memoryview, plane), np.uint8)
        rows = values.reshape(image.height, plane.line_size)
        return rows[:, : image.width * 3].reshape(image.height, image.width, 3)


def decode_rgb_frames(path: Path, indices: NDArray[np.int64], *, num_frames: int) -> Iterator[DecodedFrame]:
    """Yield the frames at `indices` (strictly increasing) of a whole mp4, from no more packets than they need.

    Args:
        path: Of the mp4.
        indices: Of the frames.
        num_frames: That the mp4 must hold.

    Raises:
        VideoError, FrameCountMismatch: see `millrace.engine.video.decode.decode_frames`.
    """
    reformatter = VideoReformatter()
    whole = Clip(path, num_frames, Fraction(1))  # a rate matters to parts of files only
    for frame in decode_frames(whole, indices):
        yield DecodedFrame(frame, reformatter)
