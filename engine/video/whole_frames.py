"""All frames of a clip as JPEG files, upright and with square pixels, one after the other."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from millrace.engine.errors import VideoError
from millrace.engine.sources import Camera
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import decode_clip, open_video
from millrace.engine.video.frame_size import MAX_SIDE, MIN_SIDE, FrameSize, nearest_even
from millrace.engine.video.jpeg import encode_jpegs
from millrace.engine.video.reframe import Reframer


def make_whole_jpegs(clip: Camera) -> Iterator[bytes]:
    """Yield every frame of a clip as a JPEG file, in order, one in memory at a time.

    Raises:
        VideoError: as `decode_clip`.
    """
    frames = decode_clip(clip, np.arange(clip.num_frames, dtype=np.int64))
    reframer = _upright(clip)
    try:
        yield from encode_jpegs(frames if reframer is None else map(reframer, frames))
    except av.FFmpegError as error:
        raise VideoError(f"frames cannot be converted ({error.strerror})") from error


def _upright(clip: Camera) -> Reframer | None:
    """What turns the frames and makes their pixels square; None where they are so."""
    if clip.video is None:
        return None
    boxes = read_boxes(clip.video.path)
    with open_video(clip.video.path, clip.video.root) as (_, stream):
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = stream.codec_context.width * aspect, stream.codec_context.height
    if boxes.is_upright and aspect == 1:
        return None
    sides = (height, width) if boxes.is_on_its_side else (width, height)
    size = FrameSize(*(min(max(nearest_even(Fraction(side)), MIN_SIDE), MAX_SIDE) for side in sides))
    return Reframer(crop="pad", size=size, pixel_aspect=aspect)
