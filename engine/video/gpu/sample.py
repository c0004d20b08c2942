"""Sample frames to try a card with, and videos of them in every codec."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

# Two groups of ten and one frame more: an encoder that gives up early, or mistimes key frames, is found out.
NUM_FRAMES = 21
HEIGHT, WIDTH = 240, 320
FPS = Fraction(20)
SAMPLE_ENCODERS = {"av1": "libsvtav1", "h264": "libx264", "hevc": "libx265"}
QUIET = {"libsvtav1": {"preset": "8"}, "libx265": {"x265-params": "log-level=none"}}


def encode_sample(path: Path, encoder: str) -> None:
    """Encode the sample on the CPU, in full range and BT.709, which are no defaults."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=FPS, options=QUIET.get(encoder, {}))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = 10, 1
        stream.codec_context.color_range = color_range = ColorRange.JPEG.value
        stream.codec_context.colorspace = matrix = Colorspace.ITU709.value
        for frame in sample_frames():
            frame.color_range, frame.colorspace = color_range, matrix
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sample_frames(height: int = HEIGHT, width: int = WIDTH) -> Iterator[av.VideoFrame]:
    """Moving waves of colour: smooth as camera images, with every level in them."""
    rows, columns = np.mgrid[0 : height * 3 // 2, 0:width]
    for number in range(NUM_FRAMES):
        waves = np.sin((rows + 2 * number) / 17) + np.cos((columns - 3 * number) / 23) + np.sin((rows + columns) / 41)
        picture = (128 + 36 * waves).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
        frame.pts, frame.time_base = number, 1 / FPS
        yield frame
