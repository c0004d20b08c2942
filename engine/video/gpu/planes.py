"""Frames in YUV 4:2:0 as tensors on their device: cropped, padded and packed plane by plane, never through RGB."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import av
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.reframe import Box

CARD_FORMAT = "cuda"
INTERLEAVED = "nv12"
FORMATS = ("yuv420p", "yuvj420p", INTERLEAVED)
BLACK_FULL, BLACK_LIMITED, GREY = 0, 16, 128


@dataclass(frozen=True, eq=False)
class Planes:
    """n frames of one size on one device. luma: (n, H, W) uint8. chroma: U and V, (n, 2, H / 2, W / 2) uint8."""

    luma: Tensor
    chroma: Tensor

    def to(self, device: str) -> "Planes":
        """The same on another device; from pinned memory without waiting."""
        return Planes(*(planes.to(device, non_blocking=True) for planes in (self.luma, self.chroma)))

    def pad(self, size: FrameSize, *, black: int) -> "Planes":
        """Pad with black to a size, centred as exactly as whole chroma pixels allow."""
        height, width = self.luma.shape[-2:]
        top, left = (size.height - height) // 4 * 2, (size.width - width) // 4 * 2
        margins = [left, top, size.width - width - left, size.height - height - top]
        halves = [margin // 2 for margin in margins]
        return Planes(
            functional.pad(self.luma, margins, fill=black),
            functional.pad(self.chroma, halves, fill=GREY),
        )

    def pack(self, pix_fmt: str) -> Tensor:
        """Pack each frame's bytes as libav lays out "yuv420p" or "nv12", (n, H * 3 / 2, W)."""
        num_frames, height, width = self.luma.shape
        chroma = self.chroma.permute(0, 2, 3, 1) if pix_fmt == INTERLEAVED else self.chroma
        return torch.cat([self.luma, chroma.reshape(num_frames, height // 2, width)], dim=1)


def stored_format(frame: av.VideoFrame) -> str:
    """The pixel format of a frame's planes, on the host or on a card."""
    return str(frame.sw_format.name if frame.format.name == CARD_FORMAT else frame.format.name)


def stack_frames(frames: Iterator[av.VideoFrame], box: Box, *, num_frames: int, pin: bool) -> Planes | None:
    """Copy a box of each of the next frames, one by one, as decoders have few surfaces. None: there are no more.

    On a card the copies are queued behind the decoder's on the same stream, so that nothing need wait.

    Args:
        frames: Of one size and format (FORMATS), all on the host or all on one card.
        box: Even, as 4:2:0 demands.
        num_frames: To take at most.
        pin: Use pinned host memory, from which a card copies by itself.
    """
    luma = chroma = torch.empty(0)
    number = -1
    for number, frame in enumerate(islice(frames, num_frames)):
        y, u, v = _crop(frame, box)
        if number == 0:
            options = {"dtype": torch.uint8, "device": y.device, "pin_memory": pin and y.device.type == "cpu"}
            luma = torch.empty((num_frames, *y.shape), **options)
            chroma = torch.empty((num_frames, 2, *u.shape), **options)
        luma[number], chroma[number, 0], chroma[number, 1] = y, u, v
    return None if number < 0 else Planes(luma[: number + 1], chroma[: number + 1])


def _crop(frame: av.VideoFrame, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Y, U and V of a box; views of the frame's own memory."""
    whole = (box.top, box.left, box.height, box.width)
    half = tuple(size // 2 for size in whole)
    y, *chroma = (_view_plane(frame, number) for number in range(len(frame.planes)))
    u, v = chroma[0].unbind(-1) if len(chroma) == 1 else chroma
    return functional.crop(y, *whole), functional.crop(u, *half), functional.crop(v, *half)


def _view_plane(frame: av.VideoFrame, number: int) -> Tensor:
    """One plane as a tensor: (H, W), or (H, W, 2) of interleaved chroma."""
    plane = frame.planes[number]
    if frame.format.name == CARD_FORMAT:
        # As a capsule: torch would name its stream, which PyAV refuses. Both work on the default stream anyway.
        return torch.from_dlpack(plane.__dlpack__())
    is_interleaved = number == 1 and frame.format.name == INTERLEAVED
    rows = torch.frombuffer(plane, dtype=torch.uint8).reshape(plane.height, plane.line_size)
    if is_interleaved:
        return rows[:, : 2 * plane.width].unflatten(1, (plane.width, 2))
    return rows[:, : plane.width]
