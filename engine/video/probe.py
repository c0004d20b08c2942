"""Probe an mp4 by its packets; nothing is decoded and no header count is trusted.

Frames that an edit list cuts off, as `ffmpeg -ss -c copy` does, are not shown and do not count.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import VideoError
from millrace.engine.sources.damage import classify_damage
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import open_video


@dataclass(frozen=True)
class VideoFacts:
    """One video stream; fps is the mean rate of its packets, None for fewer than two.

    is_turned: a display matrix turns or mirrors the frames, which some decoders ignore.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    num_frames: int
    fps: Fraction | None
    first_pts: int
    is_constant_rate: bool
    has_b_frames: bool
    gop: int
    is_turned: bool = False

    def describe(self) -> str:
        """The facts in one phrase: "h264 yuv420p 256x256, 160 frames at 20 fps"."""
        rate = "unknown rate" if self.fps is None else f"{float(self.fps):g} fps"
        return f"{self.codec} {self.pix_fmt} {self.width}x{self.height}, {self.num_frames} frames at {rate}"


def probe_video(path: Path) -> VideoFacts:
    """Read every packet's time stamps.

    Raises:
        VideoError: the file is missing, no video, truncated or corrupt.
    """
    return probe_frame_times(path)[0]


def probe_frame_times(path: Path) -> tuple[VideoFacts, NDArray[np.float64]]:
    """Read every packet's time stamps: the facts, and when each frame is shown, in seconds, rising.

    Raises:
        VideoError: as `probe_video`.
    """
    with open_video(path) as (container, stream):
        packets = [
            (packet.pts, packet.dts, packet.is_keyframe, packet.is_corrupt, packet.is_discard)
            for packet in container.demux(stream)
            if packet.size
        ]
        if not packets or any(is_corrupt or pts is None for pts, _, _, is_corrupt, _ in packets):
            raise VideoError(f"{path} is truncated or corrupt", code=classify_damage(path), file=path)
        shown = np.sort(np.array([pts for pts, *_, is_discard in packets if not is_discard], dtype=np.int64))
        if not len(shown):
            raise VideoError(f"{path} shows no frame: its edit list cuts off all of them", file=path)
        codec = stream.codec_context
        steps = np.diff(shown)
        keys = np.flatnonzero([is_keyframe for _, _, is_keyframe, *_ in packets])
        assert stream.time_base is not None
        facts = VideoFacts(
            codec=codec.codec.canonical_name,
            pix_fmt=(codec.pix_fmt or "unknown").replace("yuvj", "yuv"),  # yuvj: full range
            width=codec.width,
            height=codec.height,
            num_frames=len(shown),
            fps=Fraction(len(steps)) / (int(steps.sum()) * stream.time_base) if steps.sum() else None,
            first_pts=int(shown[0]),
            is_constant_rate=bool(len(steps) == 0 or np.ptp(steps) <= 1),
            has_b_frames=any(pts != dts for pts, dts, *_ in packets),
            is_turned=not read_boxes(path).is_upright,
            gop=int(np.max(np.diff([*keys, len(packets)]))) if len(keys) else 0,
        )
        return facts, shown.astype(np.float64) * float(stream.time_base)
