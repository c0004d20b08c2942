"""Decode images, a PNG or JPEG file each, or pixels."""

from collections.abc import Callable, Iterator, Mapping

import av
import numpy as np
from av.codec import CodecContext
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.sources import Images, StoredImage
from millrace.engine.sources.episode import Flip, View
from millrace.engine.video.decoder_limits import CODEC_OPTIONS
from millrace.engine.video.image_files import strip_jpeg, strip_png

JPEG_END = b"\xff\xd9"
FLIPS: Mapping[Flip, tuple[slice, ...]] = {
    "none": (),
    "vertical": (slice(None, None, -1),),
    "horizontal": (slice(None), slice(None, None, -1)),
    "both": (slice(None, None, -1), slice(None, None, -1)),
}
# The columns of a view in a picture so wide; of an odd number the one in the middle is neither's.
VIEWS: Mapping[View, Callable[[int], tuple[slice, ...]]] = {
    "all": lambda width: (),
    "left": lambda width: (slice(None), slice(0, width // 2)),
    "right": lambda width: (slice(None), slice(width - width // 2, None)),
}
DECODERS = {b"\x89PNG": "png", b"\xff\xd8\xff": "mjpeg"}


def decode_images(images: Images, indices: NDArray[np.int64]) -> Iterator[av.VideoFrame]:
    """Yield the images at `indices` (increasing, in [0, images.num_frames)), in order.

    Raises:
        VideoError: an image is missing or no PNG or JPEG.
        FrameCountMismatch: there are fewer or more images than frames.
    """
    return map(_decode_image, images.read_images(indices))


def _decode_image(image: StoredImage) -> av.VideoFrame:
    content = image.content
    frame = _decode_file(content, image.where) if isinstance(content, bytes) else _to_frame(content)
    if image.flip == "none" and image.order == "rgb" and image.view == "all":
        return frame
    pixels = frame.to_ndarray(format=f"{image.order}24")[FLIPS[image.flip]]
    pixels = pixels[VIEWS[image.view](pixels.shape[1])]
    return _to_frame(pixels)


def _to_frame(pixels: NDArray[np.uint8]) -> av.VideoFrame:
    if pixels.shape[-1] == 1:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[..., 0]), format="gray")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")


def _decode_file(content: bytes, where: str) -> av.VideoFrame:
    decoder = next((name for magic, name in DECODERS.items() if content.startswith(magic)), None)
    if decoder is None:
        raise VideoError(f"{where} is neither PNG nor JPEG")
    if decoder == "mjpeg" and not content.rstrip(b"\0").endswith(JPEG_END):  # its decoder fills up what is missing
        raise VideoError(f"{where} is truncated", code=FaultCode.TRUNCATED)
    try:
        context = CodecContext.create(decoder, "r")
        context.thread_count = 1
        context.options = CODEC_OPTIONS
        bare = strip_png(content) if decoder == "png" else strip_jpeg(content)
        frames = [*context.decode(av.Packet(bare)), *context.decode(None)]
    except av.FFmpegError as error:
        raise VideoError(f"{where} is corrupt ({error.strerror})") from error
    except ValueError as error:
        raise VideoError(f"{where} is corrupt ({error})") from error
    if len(frames) != 1 or frames[0].is_corrupt:
        raise VideoError(f"{where} is corrupt")
    return frames[0]
