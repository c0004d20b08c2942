"""Encode RGB images as H.264."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from millrace.engine.video.encode import VideoSettings, write_h264


def write_rgb_video(path: Path, images: Iterable[NDArray[np.uint8]], settings: VideoSettings) -> int:
    """Encode images, each (H, W, 3) uint8 RGB of the settings' size, into an mp4 at `path`; returns how many."""
    return write_h264(path, _to_yuv(images), settings)


def _to_yuv(images: Iterable[NDArray[np.uint8]]) -> Iterator[av.VideoFrame]:
    reformatter = VideoReformatter()
    for image in images:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        yield reformatter.reformat(frame, format="yuv420p")
