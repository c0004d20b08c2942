"""Frames and what their crop, padding and exact area means are, for sources and outputs of many sizes."""

from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Crop
from support.barcode import draw

Plane = NDArray[np.uint8]
BLACK = (16, 128, 128)


@dataclass(frozen=True)
class Case:
    """Source frames of width x height; part: what is kept of them; inner: its size in the output, at left, top."""

    source: FrameSize
    crop: Crop
    size: FrameSize
    part: tuple[int, int, int, int]
    inner: FrameSize
    place: tuple[int, int] = (0, 0)


VGA, HD, PORTRAIT = FrameSize(640, 480), FrameSize(640, 360), FrameSize(480, 640)
CASES = {
    "320x180 center": Case(VGA, "center", FrameSize(320, 180), (0, 60, 640, 360), FrameSize(320, 180)),
    "320x180 of 16:9": Case(HD, "pad", FrameSize(320, 180), (0, 0, 640, 360), FrameSize(320, 180)),
    "256 none": Case(HD, "none", FrameSize(256, 144), (0, 0, 640, 360), FrameSize(256, 144)),
    "portrait none": Case(PORTRAIT, "none", FrameSize(192, 256), (0, 0, 480, 640), FrameSize(192, 256)),
    "portrait center": Case(PORTRAIT, "center", FrameSize(320, 180), (0, 184, 480, 270), FrameSize(320, 180)),
    "portrait pad": Case(PORTRAIT, "pad", FrameSize(320, 180), (0, 0, 480, 640), FrameSize(134, 180), (92, 0)),
    "pad, odd in chroma": Case(VGA, "pad", FrameSize(316, 180), (0, 0, 640, 480), FrameSize(240, 180), (38, 0)),
    "pad, odd in luma": Case(VGA, "pad", FrameSize(314, 180), (0, 0, 640, 480), FrameSize(240, 180), (36, 0)),
    "pad above, odd in chroma": Case(VGA, "pad", FrameSize(160, 124), (0, 0, 640, 480), FrameSize(160, 120), (0, 2)),
    "own size": Case(HD, "none", HD, (0, 0, 640, 360), HD),
}


def draw_frame(size: FrameSize) -> av.VideoFrame:
    """A frame in 4:2:0 with many levels."""
    return av.VideoFrame.from_ndarray(draw(9, 0, 0, size.height, size.width), "rgb24").reformat(format="yuv420p")


def planes_of(frame: av.VideoFrame) -> list[Plane]:
    """Y, U and V, (H, W) each."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]


def covered(size: int, to_size: int) -> NDArray[np.int64]:
    """How much of each source pixel each target pixel covers, in to_size-ths of it, (to_size, size)."""
    starts, stops = np.arange(to_size)[:, None] * size, (np.arange(to_size)[:, None] + 1) * size
    pixels = np.arange(size) * to_size
    overlap: NDArray[np.int64] = np.minimum(stops, pixels + to_size) - np.maximum(starts, pixels)
    return np.maximum(overlap, 0)


def exact_means(plane: Plane, size: FrameSize) -> Plane:
    """The mean over each target pixel's area in whole numbers, rounded half up."""
    height, width = plane.shape
    # Sums below 2**53 are exact in float64, whose products are faster.
    sums = covered(height, size.height).astype(float) @ plane @ covered(width, size.width).T.astype(float)
    means: Plane = ((2 * sums.astype(np.int64) + height * width) // (2 * height * width)).astype(np.uint8)
    return means


def expected_planes(case: Case, frame: av.VideoFrame) -> list[Plane]:
    """What the case says of the frame's planes."""
    expected = []
    for number, (plane, black) in enumerate(zip(planes_of(frame), BLACK, strict=True)):
        step = 2 if number else 1
        left, top, width, height = (length // step for length in case.part)
        inner = FrameSize(case.inner.width // step, case.inner.height // step)
        x, y = (length // step for length in case.place)
        whole = np.full((case.size.height // step, case.size.width // step), black, np.uint8)
        whole[y : y + inner.height, x : x + inner.width] = exact_means(
            plane[top : top + height, left : left + width], inner
        )
        expected.append(whole)
    return expected
