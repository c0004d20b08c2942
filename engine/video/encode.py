"""H.264 as GR00T and LeRobot read it best: constant rate, short closed GOPs, no B-frames, the same bytes every time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

CODEC = "libx264"
DEFAULT_GOP = 10
# Measured on ALOHA: 3 % less CPU for the whole episode than 1, and 3 MB (benchmarks/convert.py).
BURST_FRAMES = 32


@dataclass(frozen=True)
class VideoSettings:
    """How output videos are made.

    crf 18 and veryfast keep at least 44 dB at 256x256; a GOP of 10 with fastdecode is the cheapest for
    both sequential and sparse readers.
    """

    fps: Fraction
    image_size: int
    gop: int = DEFAULT_GOP
    crf: int = 18
    preset: str = "veryfast"

    @property
    def options(self) -> dict[str, str]:
        """Options of libx264."""
        return {
            "preset": self.preset,
            "crf": str(self.crf),
            "g": str(self.gop),
            "bf": "0",
            "sc_threshold": "0",  # key frames every `gop` frames and nowhere else
            "tune": "fastdecode",
            "x264-params": "cpu-independent=1",  # the same bytes whatever the processor
        }


def write_h264(
    path: Path, frames: Iterable[av.VideoFrame], settings: VideoSettings, *, color_tags: Mapping[str, int] | None = None
) -> int:
    """Encode yuv420p frames into an mp4 at `path`; returns how many.

    Range and matrix are tagged as in the first frame, primaries and transfer as in color_tags, by their
    H.273 numbers. One thread, no dates: equal frames give equal bytes.
    """
    num_frames = 0
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream(CODEC, rate=settings.fps, options=settings.options)
        encoder = stream.codec_context
        encoder.width = encoder.height = settings.image_size
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = 1 / settings.fps
        encoder.thread_count = 1
        for number, frame in enumerate(_in_bursts(frames)):
            if number == 0:
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
    """Versions of the libraries that decode, scale and encode: other versions may give other bytes."""
    return {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
