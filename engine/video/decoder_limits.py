"""Limits for decoders: a header may claim any size, and memory is allocated for it."""

from pathlib import Path

from av.video.codeccontext import VideoCodecContext

from millrace.engine.errors import FaultCode, VideoError

# 8K, 7680x4320; decoders keep up to sixteen such frames.
MAX_PIXELS = 1 << 25
# libav's own options, for streams whose size changes after the header.
CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}


def check_frame_size(codec: VideoCodecContext, path: Path) -> None:
    """Refuse a video by the size in its header.

    Raises:
        VideoError: it is larger than MAX_PIXELS.
    """
    if codec.width * codec.height > MAX_PIXELS:
        raise VideoError(
            f"{path} has frames of {codec.width}x{codec.height}, expected at most {MAX_PIXELS} pixels",
            code=FaultCode.PICTURE_SIZE,
            file=path,
            got=codec.width * codec.height,
            expected=MAX_PIXELS,
        )
