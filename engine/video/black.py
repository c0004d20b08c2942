"""Black frames for a camera that a source lacks."""

from collections.abc import Iterator

import av
import numpy as np
from av.video.reformatter import ColorRange

from millrace.engine.video.frame_size import FrameSize

BLACK_LUMA, GREY_CHROMA = 16, 128  # of limited range, as H.264 is read


def black_frames(num_frames: int, size: FrameSize) -> Iterator[av.VideoFrame]:
    """Black yuv420p frames."""
    planes = np.full((size.height * 3 // 2, size.width), GREY_CHROMA, np.uint8)
    planes[: size.height] = BLACK_LUMA
    for _ in range(num_frames):
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.color_range = ColorRange.MPEG
        yield frame
