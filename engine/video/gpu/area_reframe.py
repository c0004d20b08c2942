"""Crop and scale by exact area means, many frames at a time, on a GPU or without: the same bytes on both."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.gpu.area import AreaResize
from millrace.engine.video.gpu.planes import (
    BLACK_FULL,
    BLACK_LIMITED,
    CARD_FORMAT,
    FORMATS,
    Planes,
    stack_frames,
    stored_format,
)
from millrace.engine.video.gpu.transfer import begin_host_copy, wrap_frames
from millrace.engine.video.reframe import Box, Crop, Reframer, crop_box

# Of a batch, at most: 45 MB as floating point numbers.
BATCH_FRAMES, BATCH_PIXELS = 32, 1 << 23


@dataclass(frozen=True)
class EncoderInput:
    """Frames that the encoder takes. stays_on_card: they are not copied to the host."""

    pix_fmt: Literal["yuv420p", "nv12"] = "yuv420p"
    stays_on_card: bool = False


@dataclass(frozen=True)
class _Kind:
    """What the frames of a clip have in common."""

    width: int
    height: int
    pix_fmt: str
    is_full_range: bool

    @classmethod
    def read(cls, frame: av.VideoFrame) -> "_Kind":
        pix_fmt = stored_format(frame)
        is_full = pix_fmt.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        return cls(frame.width, frame.height, pix_fmt, is_full)


_Colors = tuple[int | None, int, int]
"""pts, matrix and range of a frame."""


class AreaReframer:
    """Turns decoded frames, on the host or on a card, into those of the output as `Reframer` does.

    `Reframer` does what this cannot do exactly: more than 8 bits, other chroma than 4:2:0, odd sizes, and targets
    larger than the source.
    """

    def __init__(
        self, *, crop: Crop, size: FrameSize, device: str = "cpu", handover: EncoderInput = EncoderInput()
    ) -> None:
        self.crop: Crop = crop
        self.size, self.device, self.handover = size, device, handover

    def __call__(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Raises VideoError when size or pixel format differ from the first frame's, or the aspect is wrong."""
        remaining = iter(frames)
        first = next(remaining, None)
        if first is None:
            return
        frames, kind = chain([first], remaining), _Kind.read(first)
        box = crop_box(kind.width, kind.height, crop=self.crop, size=self.size)
        if is_exact(kind.pix_fmt, kind.width, kind.height, box=box):
            yield from self._in_batches(_check_alike(frames, kind), kind, box)
        else:
            yield from map(Reframer(crop=self.crop, size=self.size), map(copy_to_host, frames))

    def _in_batches(self, frames: Iterator[av.VideoFrame], kind: _Kind, box: Box) -> Iterator[av.VideoFrame]:
        """Copy a batch to the host while the next one is decoded."""
        scale = _Scale(box, device=self.device)
        black = BLACK_FULL if kind.is_full_range else BLACK_LIMITED
        size = max(1, min(BATCH_FRAMES, BATCH_PIXELS // (box.width * box.height)))
        ready: Iterator[av.VideoFrame] = iter(())
        colors: list[_Colors] = []
        recorded = _record_colors(frames, colors)
        while (batch := stack_frames(recorded, box, num_frames=size, pin=self.device != "cpu")) is not None:
            small = scale(batch)
            if self.crop == "pad":
                small = small.pad(self.size, black=black)
            wait = self._hand_over(small)
            yield from ready
            ready = _restore_colors(wait, colors.copy())
            colors.clear()
        yield from ready

    def _hand_over(self, small: Planes) -> Callable[[], Iterator[av.VideoFrame]]:
        if self.handover.stays_on_card:
            return lambda: wrap_frames(small)
        wait = begin_host_copy(small.pack(self.handover.pix_fmt))
        return lambda: _make_frames(wait(), self.handover.pix_fmt)


class _Scale:
    """The area means of both kinds of planes."""

    def __init__(self, box: Box, *, device: str) -> None:
        self.device = device
        size, to_size = (box.height, box.width), (box.to_height, box.to_width)
        halves = (box.height // 2, box.width // 2), (box.to_height // 2, box.to_width // 2)
        self._luma, self._chroma = AreaResize(size, to_size, device=device), AreaResize(*halves, device=device)

    def __call__(self, planes: Planes) -> Planes:
        there = planes.to(self.device)
        return Planes(self._luma(there.luma), self._chroma(there.chroma))


def is_exact(pix_fmt: str, width: int, height: int, *, box: Box) -> bool:
    """Whether area means of such frames are exact, and libavfilter's equal up to rounding."""
    is_smaller = box.to_width <= box.width and box.to_height <= box.height
    is_even = all(side % 2 == 0 for side in (width, height, box.width, box.height))
    return pix_fmt in FORMATS and is_even and is_smaller


def copy_to_host(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as a decoder on the CPU gives it; a frame on a card is copied."""
    return frame.reformat(format="yuv420p") if CARD_FORMAT in frame.format.name else frame


def _check_alike(frames: Iterable[av.VideoFrame], kind: _Kind) -> Iterator[av.VideoFrame]:
    for frame in frames:
        if (other := _Kind.read(frame)) != kind:
            message = f"the frames change from {kind} to {other} within the clip"
            raise VideoError(message, code=FaultCode.PICTURE_SIZE, got=str(other), expected=str(kind))
        yield frame


def _record_colors(frames: Iterator[av.VideoFrame], colors: list[_Colors]) -> Iterator[av.VideoFrame]:
    """Record times and colour tags of each frame; an untagged range is read as limited."""
    for frame in frames:
        color_range = ColorRange.JPEG if _Kind.read(frame).is_full_range else ColorRange.MPEG
        colors.append((frame.pts, frame.colorspace, int(color_range)))
        yield frame


def _make_frames(images: NDArray[np.uint8], pix_fmt: str) -> Iterator[av.VideoFrame]:
    return (av.VideoFrame.from_ndarray(image, pix_fmt) for image in images)


def _restore_colors(wait: Callable[[], Iterator[av.VideoFrame]], colors: list[_Colors]) -> Iterator[av.VideoFrame]:
    """The frames after their copy, with their recorded times and colour tags."""
    for frame, (pts, colorspace, color_range) in zip(wait(), colors, strict=True):
        frame.pts, frame.colorspace, frame.color_range = pts, colorspace, color_range
        yield frame
