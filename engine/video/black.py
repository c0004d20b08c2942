"""Black frames for a camera that a source lacks."""

from collections.abc import Iterator

import av
import numpy as np
from av.video.reformatter import ColorRange

BLACK_LUMA, GREY_CHROMA = 16, 128  # of limited range, as H.264 is read


def black_frames(num_frames: int, image_size: int) -> Iterator[av.VideoFrame]:
    """Black yuv420p frames of image_size x image_size."""
    planes = np.full((image_size * 3 // 2, image_size), GREY_CHROMA, np.uint8)
    planes[:image_size] = BLACK_LUMA
    for _ in range(num_frames):
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.color_range = ColorRange.MPEG
        yield frame
