"""Live frames of a robot's camera, cropped and scaled by the code that converts recordings."""

from collections.abc import Iterator

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from millrace.engine.errors import VideoError
from millrace.engine.video.decoder_limits import MAX_PIXELS
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Crop, Reframer
from millrace.engine.video.rgb import DecodedFrame, ValueRange


class LiveFramer:
    """Makes a camera's frames as those of a dataset: the same crop, size, filter and colours; they are not encoded.

    Frames of any size are taken; another size than that of the frame before costs a new filter.

    Args:
        crop, size: How the dataset's frames were made.
        earlier: The same of an earlier conversion, whose frames this one took; None: it took the camera's own.
    """

    def __init__(self, *, crop: Crop, size: FrameSize, earlier: tuple[Crop, FrameSize] | None = None) -> None:
        self.crop: Crop = crop
        self.size = size
        self._steps = ((crop, size),) if earlier is None else (earlier, (crop, size))
        self._shape: tuple[int, ...] = ()
        self._reframers: tuple[Reframer, ...] = ()
        self._reformatter = VideoReformatter()

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One frame, (H, W, 3) uint8 RGB, as (height, width, 3) uint8 RGB of the dataset's size.

        Raises:
            VideoError: it is no such array, is too large, or its aspect cannot be shown without bars.
        """
        frame = self.reframe(image)
        return np.array(DecodedFrame(frame, self._reformatter).to_rgb(ValueRange.LIMITED))

    def reframe(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """The same as yuv420p, which conversion would encode."""
        is_image = image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3 and min(image.shape) > 1
        if not is_image or image.size // 3 > MAX_PIXELS:
            raise VideoError(
                f"a frame must be (H, W, 3) uint8 RGB of at most {MAX_PIXELS} pixels, got {image.shape} {image.dtype}",
                got=str(image.shape),
            )
        if not self._reframers or image.shape != self._shape:
            self._reframers = tuple(Reframer(crop=crop, size=size) for crop, size in self._steps)
            self._shape = image.shape
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        for reframer in self._reframers:
            frame = reframer(frame)
        return frame


def frame_all(framer: LiveFramer, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (B, T, H, W, 3) as (B, T, height, width, 3)."""
    batch, steps = images.shape[:2]
    frames: Iterator[NDArray[np.uint8]] = (framer(image) for row in images for image in row)
    return np.stack([*frames]).reshape(batch, steps, framer.size.height, framer.size.width, 3)
