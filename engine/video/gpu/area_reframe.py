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
from millrace.engine.video.gpu.area import AreaResize
from millrace.engine.video.gpu.planes import (
    BLACK_FULL,
    BLACK_LIMITED,
    CARD_FORMAT,
    FORMATS,
    Planes,
    stacked,
    stored_format,
)
from millrace.engine.video.gpu.transfer import begin_host_copy, frames_in_place
from millrace.engine.video.reframe import Box, Crop, Reframer, crop_box

# Of a batch, at most: 45 MB as floating point numbers.
BATCH_FRAMES, BATCH_PIXELS = 32, 1 << 23


@dataclass(frozen=True)
class Handover:
    """What the encoder takes. stays: frames that lie on the card, where the resize is done there."""

    pix_fmt: Literal["yuv420p", "nv12"] = "yuv420p"
    stays: bool = False


@dataclass(frozen=True)
class _Kind:
    """What the frames of a clip have in common."""

    width: int
    height: int
    pix_fmt: str
    is_full_range: bool

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "_Kind":
        pix_fmt = stored_format(frame)
        is_full = pix_fmt.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        return cls(frame.width, frame.height, pix_fmt, is_full)


_Colors = tuple[int | None, int, int]
"""pts, matrix and range of a frame."""


class AreaReframer:
    """Turns decoded frames, on the host or on a card, into square ones as `Reframer` does.

    What it cannot do exactly it leaves to `Reframer`, whoever works at the clip: more than 8 bits, other chroma than
    4:2:0, odd sizes, and targets larger than the source.
    """

    def __init__(self, *, crop: Crop, image_size: int, device: str = "cpu", handover: Handover = Handover()) -> None:
        self.crop: Crop = crop
        self.image_size, self.device, self.handover = image_size, device, handover

    def __call__(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Raises VideoError when a frame's size or pixel format differs from the first one's."""
        remaining = iter(frames)
        first = next(remaining, None)
        if first is None:
            return
        frames, kind = chain([first], remaining), _Kind.of(first)
        box = crop_box(kind.width, kind.height, crop=self.crop, image_size=self.image_size)
        if is_exact(kind.pix_fmt, kind.width, kind.height, box=box):
            yield from self._in_batches(_alike(frames, kind), kind, box)
        else:
            yield from map(Reframer(crop=self.crop, image_size=self.image_size), map(on_host, frames))

    def _in_batches(self, frames: Iterator[av.VideoFrame], kind: _Kind, box: Box) -> Iterator[av.VideoFrame]:
        """A batch is handed over while the next one is decoded: its copy to the host need not be waited for."""
        scale = _Scale(box, device=self.device)
        black = BLACK_FULL if kind.is_full_range else BLACK_LIMITED
        size = max(1, min(BATCH_FRAMES, BATCH_PIXELS // (box.width * box.height)))
        ready: Iterator[av.VideoFrame] = iter(())
        colors: list[_Colors] = []
        noted = _noted(frames, colors)
        while (batch := stacked(noted, box, num_frames=size, pin=self.device != "cpu")) is not None:
            small = scale(batch)
            if self.crop == "pad":
                small = small.padded(self.image_size, black=black)
            begun = self._hand_over(small)
            yield from ready
            ready = _colored(begun, colors.copy())
            colors.clear()
        yield from ready

    def _hand_over(self, small: Planes) -> Callable[[], Iterator[av.VideoFrame]]:
        if self.handover.stays:
            return lambda: frames_in_place(small)
        wait = begin_host_copy(small.packed(self.handover.pix_fmt))
        return lambda: _host_frames(wait(), self.handover.pix_fmt)


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
    """Whether area means of such frames are exact, and libavfilter's the same but for rounding."""
    is_smaller = box.to_width <= box.width and box.to_height <= box.height
    return pix_fmt in FORMATS and width % 2 == height % 2 == 0 and is_smaller


def on_host(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as a decoder on the CPU would give it, copied down where it lies on a card."""
    return frame.reformat(format="yuv420p") if CARD_FORMAT in frame.format.name else frame


def _alike(frames: Iterable[av.VideoFrame], kind: _Kind) -> Iterator[av.VideoFrame]:
    for frame in frames:
        if (other := _Kind.of(frame)) != kind:
            raise VideoError(f"the frames change from {kind} to {other} within the clip", FaultCode.PICTURE_SIZE)
        yield frame


def _noted(frames: Iterator[av.VideoFrame], colors: list[_Colors]) -> Iterator[av.VideoFrame]:
    """Note what each frame's picture does not say; an untagged range is read as limited."""
    for frame in frames:
        color_range = ColorRange.JPEG if _Kind.of(frame).is_full_range else ColorRange.MPEG
        colors.append((frame.pts, frame.colorspace, int(color_range)))
        yield frame


def _host_frames(pictures: NDArray[np.uint8], pix_fmt: str) -> Iterator[av.VideoFrame]:
    return (av.VideoFrame.from_ndarray(picture, pix_fmt) for picture in pictures)


def _colored(begun: Callable[[], Iterator[av.VideoFrame]], colors: list[_Colors]) -> Iterator[av.VideoFrame]:
    """The frames once they are there, with times and colours as they came."""
    for frame, (pts, colorspace, color_range) in zip(begun(), colors, strict=True):
        frame.pts, frame.colorspace, frame.color_range = pts, colorspace, color_range
        yield frame
