"""Headers and small grey thumbnails of videos; for inspection, not for conversion."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from millrace.engine.errors import VideoError
from millrace.engine.sources import Camera, Clip
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import decode_clip, open_video

# Size of a thumbnail: small enough to average noise away, large enough for a moving hand to fill one.
GREY_WIDTH, GREY_HEIGHT = 64, 48
GOP_PACKETS = 600
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


@dataclass(frozen=True)
class VideoHeader:
    """What a container says of its video; num_frames 0 and rates None where it does not.

    mean_fps: frames by duration. step_fps: of the smallest step between frames, the same if there is no gap.
    pixel_aspect: width of a pixel by its height. is_turned: whether players turn or mirror the frames.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    color_range: str
    mean_fps: Fraction | None
    step_fps: Fraction | None
    num_frames: int
    num_bytes: int
    pixel_aspect: Fraction = Fraction(1)
    is_turned: bool = False


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Small grey images of a few frames of a clip.

    grey: (n, GREY_HEIGHT, GREY_WIDTH) uint8, 0 black to 255 white. seconds: when each is shown, (n,),
    NaN where nothing says. pix_fmt, width, height: of the first as it was stored.
    """

    grey: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    pix_fmt: str
    width: int
    height: int


def info_image_size(shape: Sequence[int], names: Sequence[str] | None) -> tuple[int, int] | None:
    """Height and width of a camera's images by its feature in info.json; None where it does not say.

    Args:
        shape: Of the feature: height, width and channels, or channels first.
        names: Of these three, where info.json has them; they tell which, or else the numbers do.
    """
    if len(shape) != 3:
        return None
    is_channel = [name.startswith("channel") for name in names or ()]
    if sum(is_channel) != 1:
        is_channel = [size in CHANNELS for size in shape]
    is_channels_first = is_channel[0] and not is_channel[-1]
    height, width = shape[1:] if is_channels_first else shape[:2]
    return height, width


def read_video_header(clip: Clip) -> VideoHeader:
    """Read the header of a clip's video file; no packet is read.

    Raises:
        VideoError: the file is missing, no video, truncated or corrupt.
    """
    with open_video(clip.path, clip.root) as (_, stream):
        codec = stream.codec_context
        return VideoHeader(
            codec=codec.codec.canonical_name,
            pix_fmt=(codec.pix_fmt or "unknown").replace("yuvj", "yuv"),
            width=codec.width,
            height=codec.height,
            color_range=_color_range(codec.pix_fmt or "", codec.color_range),
            mean_fps=stream.average_rate,
            step_fps=stream.base_rate,
            num_frames=stream.frames,
            num_bytes=clip.path.stat().st_size,
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
            is_turned=not read_boxes(clip.path).is_upright,
        )


def _color_range(pix_fmt: str, tag: int) -> str:
    if pix_fmt.startswith("yuvj") or tag == ColorRange.JPEG:
        return "full"
    return "limited" if tag == ColorRange.MPEG else "untagged"


def measure_gop(clip: Clip) -> int:
    """The largest number of frames from key frame to key frame at the start of a clip's file; nothing is decoded."""
    with open_video(clip.path, clip.root) as (container, stream):
        packets = (packet.is_keyframe for packet in container.demux(stream) if packet.size)
        is_key = list(islice(packets, GOP_PACKETS))
        return int(np.diff([*np.flatnonzero(is_key), len(is_key)]).max(initial=0))


def make_thumbnails(clip: Camera, indices: NDArray[np.int64]) -> Thumbnails:
    """Decode the clip's frames at `indices` (increasing, at least one) and make them small and grey.

    Raises:
        VideoError: as `decode_clip`.
    """
    reformatter = VideoReformatter()
    grey, seconds, first = [], [], None
    try:
        for frame in decode_clip(clip, indices):
            first = first or (frame.format.name, frame.width, frame.height)
            small = reformatter.reformat(
                frame, GREY_WIDTH, GREY_HEIGHT, "gray", interpolation="AREA", dst_color_range="JPEG"
            )
            grey.append(small.to_ndarray())
            # Not frame.time: PyAV 16 divides by a time base of 0.
            is_timed = frame.pts is not None and frame.time_base
            seconds.append(float(frame.pts * frame.time_base) if is_timed else float("nan"))
    except av.FFmpegError as error:
        raise VideoError(f"frames cannot be converted ({error.strerror})") from error
    if first is None:
        raise VideoError("no frame could be decoded")
    return Thumbnails(np.stack(grey), np.array(seconds), *first)
