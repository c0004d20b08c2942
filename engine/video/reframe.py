"""Crop and scale of YUV frames in libavfilter: from the camera's picture to the model's square one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import av
from av.filter import Graph
from av.video.reformatter import ColorRange

from engine.errors import VideoError
from engine.faults import FaultCode

Crop = Literal["center", "pad"]

# The area mean of the source pixels, exact on every machine.
SCALE_FLAGS = "area+accurate_rnd+bitexact"


@dataclass(frozen=True)
class Box:
    """Where the picture goes: source [left, top] + (width, height) scaled to (to_width, to_height)."""

    left: int
    top: int
    width: int
    height: int
    to_width: int
    to_height: int


def crop_box(width: int, height: int, *, crop: Crop, image_size: int) -> Box:
    """Centre square of the source ("center"), or all of it, fitted into the target ("pad").

    Sizes and offsets in pixels; offsets are even, as 4:2:0 chroma demands.
    """
    if crop == "center":
        side = min(width, height)
        return Box(_even((width - side) / 2), _even((height - side) / 2), side, side, image_size, image_size)
    scale = image_size / max(width, height)
    fitted = (min(image_size, max(2, _even(side * scale))) for side in (width, height))
    return Box(0, 0, width, height, *fitted)


def _even(value: float) -> int:
    return 2 * int(value / 2 + 1e-9)


class Reframer:
    """Turns decoded frames into (image_size, image_size) yuv420p, range and matrix of YUV as they came.

    One libavfilter graph per clip, built for its first frame; one thread.
    """

    def __init__(self, *, crop: Crop, image_size: int) -> None:
        self.crop: Crop = crop
        self.image_size = image_size
        self._graph: Graph | None = None
        self._input: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Raises VideoError when a frame's size or pixel format differs from the first one's."""
        described = (frame.width, frame.height, frame.format.name)
        if self._graph is None:
            self._graph, self._input = self._build(frame), described
        if described != self._input:
            raise VideoError(
                f"the picture changes from {self._input} to {described} within the clip", FaultCode.PICTURE_SIZE
            )
        self._graph.vpush(frame)
        reframed = self._graph.vpull()
        reframed.pts = frame.pts
        return reframed

    def _build(self, frame: av.VideoFrame) -> Graph:
        size = self.image_size
        box = crop_box(frame.width, frame.height, crop=self.crop, image_size=size)
        source = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000"
        steps = [
            ("buffer", f"{source}:colorspace={frame.colorspace:d}:range={frame.color_range:d}"),
            ("crop", f"{box.width}:{box.height}:{box.left}:{box.top}"),
            ("scale", f"{box.to_width}:{box.to_height}:flags={SCALE_FLAGS}:{_colors(frame)}"),
            ("format", "yuv420p"),
            ("pad", f"{size}:{size}:-1:-1:black"),
            ("setsar", "1"),
            ("buffersink", None),
        ]
        return filter_graph([step for step in steps if step[0] != "pad" or self.crop == "pad"])


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
