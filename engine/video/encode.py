"""Encode H.264 as GR00T and LeRobot read it best: constant rate, short closed GOPs, no B-frames, equal bytes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from millrace.engine.video.backends import CPU_BACKENDS, NVENC, X264, Backends
from millrace.engine.video.frame_size import FrameSize

DEFAULT_GOP = 10
# A step of 5 levels, so an error of at most 5 ** 2 / 12 on average: 45 dB. `millrace doctor` measures it on the card.
NVENC_QP = 18
# Measured on ALOHA: 3 % less CPU for the whole episode than 1, and 3 MB (benchmarks/convert.py).
BURST_FRAMES = 32


@dataclass(frozen=True)
class VideoSettings:
    """Settings of the output's videos.

    crf 18 and veryfast keep at least 44 dB at 256x256; a GOP of 10 with fastdecode is the cheapest for
    both sequential and sparse readers. crf, preset: of libx264. backends: what resizes and encodes.
    """

    fps: Fraction
    size: FrameSize
    gop: int = DEFAULT_GOP
    crf: int = 18
    preset: str = "veryfast"
    backends: Backends = CPU_BACKENDS

    @property
    def options(self) -> dict[str, str]:
        """Options of the encoder."""
        return self._nvenc_options if self.backends.encoder == NVENC else self._x264_options

    @property
    def _x264_options(self) -> dict[str, str]:
        return {
            "preset": self.preset,
            "crf": str(self.crf),
            "g": str(self.gop),
            "bf": "0",
            "sc_threshold": "0",  # key frames every `gop` frames and nowhere else
            "tune": "fastdecode",
            "x264-params": "cpu-independent=1",  # the same bytes whatever the processor
        }

    @property
    def _nvenc_options(self) -> dict[str, str]:
        """Each frame depends on itself and its predecessor alone: no look-ahead, no rate control."""
        return {
            "preset": "p4",
            "tune": "hq",
            "profile": "high",
            "rc": "constqp",
            "qp": str(NVENC_QP),
            "g": str(self.gop),
            "bf": "0",
            "strict_gop": "1",
            "no-scenecut": "1",  # key frames every `gop` frames and nowhere else
            "forced-idr": "1",
            "coder": "cavlc",  # as fastdecode has it
            "multipass": "disabled",
            "rc-lookahead": "0",
            "b_ref_mode": "disabled",
            "spatial-aq": "0",
            "temporal-aq": "0",
        }


def write_h264(
    path: Path, frames: Iterable[av.VideoFrame], settings: VideoSettings, *, color_tags: Mapping[str, int] | None = None
) -> int:
    """Encode yuv420p frames into an mp4 at `path`; returns how many. NVENC also takes NV12, on the host or on the card.

    Range and matrix are tagged as in the first frame, primaries and transfer as in color_tags, by their
    H.273 numbers. One thread, no dates: equal frames give equal bytes.
    """
    num_frames = 0
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream(settings.backends.encoder, rate=settings.fps, options=settings.options)
        encoder = stream.codec_context
        encoder.width, encoder.height = settings.size
        encoder.time_base = 1 / settings.fps
        encoder.thread_count = 1
        for number, frame in enumerate(_in_bursts(frames)):
            if number == 0:
                encoder.pix_fmt = frame.format.name if settings.backends.encoder == NVENC else "yuv420p"
                encoder.color_range, encoder.colorspace = frame.color_range, frame.colorspace
                for tag, value in (color_tags or {}).items():
                    setattr(encoder, tag, value)
            frame.pts, frame.time_base = number, encoder.time_base
            # Key frames of the source would otherwise be key frames of the output: twice the bytes.
            frame.pict_type = 0
            container.mux(stream.encode(frame))
            num_frames = number + 1
        container.mux(stream.encode(None))
    return num_frames


def _in_bursts(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Hold a few small frames back, so that decoder and encoder do not take turns in the CPU's caches."""
    remaining = iter(frames)
    while burst := list(islice(remaining, BURST_FRAMES)):
        yield from burst


def library_versions() -> dict[str, str]:
    """Versions of FFmpeg's libraries, which decode, scale and encode: others may give other bytes."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}


def x264_version() -> str | None:
    """The build of libx264, which only its streams tell; None without one."""
    encoder = av.CodecContext.create(X264, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 20)
    frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), "yuv420p")
    written = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    found = re.search(rb"x264 - core (\S+)", written)
    return None if found is None else found[1].decode("ascii", "replace")
