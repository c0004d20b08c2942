"""Small JPEG images of a clip's frames, to look at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from millrace.engine.errors import VideoError
from millrace.engine.sources import Camera
from millrace.engine.video.decode import decode_clip

# libav's scale of 2 (best) to 31.
QUALITY = 5
MAX_ASPECT = 4.0


@dataclass(frozen=True)
class JpegImage:
    """A frame as a JPEG file. index: of the frame in its clip."""

    index: int
    width: int
    height: int
    content: bytes


def make_jpegs(clip: Camera, indices: NDArray[np.int64], *, num_pixels: int) -> list[JpegImage]:
    """Decode the clip's frames at `indices` (increasing), made small enough to have about `num_pixels` at most.

    Raises:
        VideoError: as `decode_clip`.
    """
    reformatter = VideoReformatter()
    images = []
    try:
        for index, frame in zip(indices.tolist(), decode_clip(clip, indices), strict=False):
            images.append(_encode(index, frame, reformatter, num_pixels))
    except av.FFmpegError as error:
        raise VideoError(f"frames cannot be converted ({error.strerror})") from error
    return images


def _encode(index: int, frame: av.VideoFrame, reformatter: VideoReformatter, num_pixels: int) -> JpegImage:
    aspect = min(max(frame.width / frame.height, 1 / MAX_ASPECT), MAX_ASPECT)
    tall = min(float(frame.height), (num_pixels / aspect) ** 0.5)
    height, width = (max(2, round(size / 2) * 2) for size in (tall, tall * aspect))
    return JpegImage(index, width, height, _compress(frame, width, height, reformatter))


def encode_jpegs(frames: Iterable[av.VideoFrame]) -> Iterator[bytes]:
    """Yield each frame as a JPEG file of its own size."""
    reformatter = VideoReformatter()
    for frame in frames:
        yield _compress(frame, frame.width, frame.height, reformatter)


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = QUALITY, scale: int = 1) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as a JPEG file, made smaller by a whole number."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    height, width = (max(1, size // scale) for size in image.shape[:2])
    return _compress(frame, width, height, VideoReformatter(), quality=quality)


def _compress(
    frame: av.VideoFrame, width: int, height: int, reformatter: VideoReformatter, *, quality: int = QUALITY
) -> bytes:
    small = reformatter.reformat(
        frame, width, height, "yuvj420p", interpolation="AREA", dst_color_range=ColorRange.JPEG
    )
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuvj420p", Fraction(1)
    encoder.thread_count = 1
    # Without bitexact libav writes its version into the file.
    encoder.options = {"qmin": str(quality), "qmax": str(quality), "flags": "+bitexact"}
    small.pts = None
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))
