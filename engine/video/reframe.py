"""Crop and scale YUV frames in libavfilter, from a camera's frames to those of the output."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.video.frame_size import FrameSize, nearest_even

Crop = Literal["center", "pad", "none"]

UPRIGHT = (1, 0, 0, 1)
# libavfilter's filters for each of the eight orientations of a frame.
TURNS: dict[tuple[int, ...], tuple[tuple[str, str | None], ...]] = {
    UPRIGHT: (),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (-1, 0, 0, -1): (("hflip", None), ("vflip", None)),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (-1, 0, 0, 1): (("hflip", None),),
    (1, 0, 0, -1): (("vflip", None),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}
# The area mean of the source pixels, exact on every machine.
SCALE_FLAGS = "area+accurate_rnd+bitexact"


@dataclass(frozen=True)
class Box:
    """What of a frame goes where: source [left, top] + (width, height) scaled to (to_width, to_height)."""

    left: int
    top: int
    width: int
    height: int
    to_width: int
    to_height: int


def crop_box(width: int, height: int, *, crop: Crop, size: FrameSize, pixel_aspect: Fraction = Fraction(1)) -> Box:
    """What of a frame goes where in frames of `size`.

    "center": the largest part of the target's aspect, in the middle. "pad": all of it, fitted into the target. "none":
    all of it, to the target's whole size, which must have its aspect.

    Sizes and offsets in pixels; offsets are even, as 4:2:0 chroma demands. pixel_aspect: width of a source pixel by
    its height; pixels of the target are square.

    Raises:
        VideoError: `crop` is "none" and the target's aspect is another.
    """
    shown = width * pixel_aspect, Fraction(height)
    if crop == "center":
        is_even = width % 2 == height % 2 == 0
        across = min(width, _cut(shown[1] * size.width / size.height / pixel_aspect, is_even=is_even))
        down = min(height, _cut(shown[0] * size.height / size.width, is_even=is_even))
        return Box(_floor_even((width - across) / 2), _floor_even((height - down) / 2), across, down, *size)
    if crop == "none":
        _check_aspect(shown, size)
        return Box(0, 0, width, height, *size)
    scale = min(size.width / shown[0], size.height / shown[1])
    return Box(0, 0, width, height, *(max(2, _floor_even(side * scale)) for side in shown))


def _check_aspect(shown: tuple[Fraction, Fraction], size: FrameSize) -> None:
    if size.has_aspect_of(*shown):
        return
    found = FrameSize(*map(round, shown))
    problem = f"frames of {found} cannot be shown whole in {size}, the size of this camera's other frames, "
    raise VideoError(
        problem,
        "without bars. ",
        Remedy("Pass ", Setting("crop", "pad"), " with ", Setting("image_size", str(size))),
        code=FaultCode.PICTURE_SIZE,
        got=str(found),
        expected=str(size),
    )


def display_turn(frame: av.VideoFrame) -> tuple[int, ...]:
    """How a frame is turned for display, as the signs of a, b, c, d in (x, y) -> (ax + cy, bx + dy).

    Raises:
        VideoError: the angle is no quarter turn.
    """
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(memoryview(data), "<i4")
    found = tuple(int(np.sign(matrix[place])) for place in (0, 1, 3, 4))
    if found not in TURNS:
        message = f"the frames are to be turned by {frame.rotation} degrees, expected quarter turns"
        raise VideoError(message, got=frame.rotation, expected="quarter turns")
    return found


def _cut(length: Fraction, *, is_even: bool) -> int:
    """The length of a cropped side: even in an even frame, which may be 4:2:0; else as it is, where it is whole."""
    is_kept = length.denominator == 1 and (length % 2 == 0 or not is_even)
    return max(2, int(length) if is_kept else nearest_even(length))


def _floor_even(length: float | Fraction) -> int:
    return 2 * int(length / 2)


class Reframer:
    """Turns decoded frames into yuv420p of one size; range and matrix of YUV stay.

    Frames are turned as their display matrix says, and pixels become square. One libavfilter graph per clip,
    built for its first frame; one thread. turn: of that frame; see `display_turn`.
    """

    def __init__(self, *, crop: Crop, size: FrameSize, pixel_aspect: Fraction = Fraction(1)) -> None:
        self.crop: Crop = crop
        self.size, self.pixel_aspect = size, pixel_aspect
        self.turn: tuple[int, ...] = UPRIGHT
        self._graph: Graph | None = None
        self._input: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Raises VideoError when size or pixel format differ from the first frame's, or the aspect is wrong."""
        described = (frame.width, frame.height, frame.format.name)
        if self._graph is None:
            self._graph, self._input = self._build(frame), described
        if described != self._input:
            raise VideoError(
                f"the frames change from {self._input} to {described} within the clip",
                code=FaultCode.PICTURE_SIZE,
                got=list(described),
                expected=list(self._input or ()),
            )
        self._graph.vpush(frame)
        reframed = self._graph.vpull()
        reframed.pts = frame.pts
        return reframed

    def _build(self, frame: av.VideoFrame) -> Graph:
        size, self.turn = self.size, display_turn(frame)
        width, height, aspect = frame.width, frame.height, self.pixel_aspect
        if self.turn[0] == 0:  # turned on its side
            width, height, aspect = height, width, 1 / aspect
        box = crop_box(width, height, crop=self.crop, size=size, pixel_aspect=aspect)
        source = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000"
        steps = [
            ("buffer", f"{source}:colorspace={frame.colorspace:d}:range={frame.color_range:d}"),
            *TURNS[self.turn],
            ("crop", f"{box.width}:{box.height}:{box.left}:{box.top}"),
            ("scale", f"{box.to_width}:{box.to_height}:flags={SCALE_FLAGS}:{_colors(frame)}"),
            ("format", "yuv420p"),
            ("pad", f"{size.width}:{size.height}:-1:-1:black"),
            ("setsar", "1"),
            ("buffersink", None),
        ]
        # Of odd sizes in 4:2:0, libavfilter's crop would drop a line.
        skipped = {"pad": (), "center": ("pad",), "none": ("crop", "pad")}[self.crop]
        return filter_graph([step for step in steps if step[0] not in skipped])


def filter_graph(steps: Sequence[tuple[str, str | None]]) -> Graph:
    """A chain of filters, (name, arguments) each, on one thread."""
    graph = Graph()
    if hasattr(graph, "threads"):  # not in PyAV 15
        graph.threads = 1
    graph.link_nodes(*(graph.add(name, arguments) for name, arguments in steps)).configure()
    return graph


def _colors(frame: av.VideoFrame) -> str:
    """YUV keeps its range and matrix; RGB becomes limited-range BT.601, as untagged H.264 is read."""
    if frame.format.is_rgb:
        return "in_range=full:out_range=limited:out_color_matrix=bt601"
    is_full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    color_range = "full" if is_full else "limited"
    return f"in_range={color_range}:out_range={color_range}"
