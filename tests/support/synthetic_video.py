"""Videos whose every frame says which one it is."""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from support.barcode import Stamp, draw, read

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 otherwise prints its settings for every file.

# Of fewer frames than it delays, libx265 leaves some decoding times unset, and now and then the file is refused.
FEWEST_FOR_B_FRAMES = 3
CODEC_NAMES = {"libsvtav1": "av1", "libx264": "h264", "libx265": "hevc"}
_COLOR_RANGES = {"tv": ColorRange.MPEG, "pc": ColorRange.JPEG}
_COLORSPACES = {"bt709": (Colorspace.ITU709, 1), "bt601": (Colorspace.ITU601, 6)}  # the numbers are H.273's


@dataclass(frozen=True)
class SyntheticVideo:
    """How to encode. The defaults are LeRobot's (AV1, a key frame every second frame, crf 30), with a fast preset.

    `color_range` and `colorspace` convert the pixels and tag the stream; None leaves both to the encoder.
    """

    codec: Literal["libsvtav1", "libx264", "libx265"] = "libsvtav1"
    height: int = 64
    width: int = 96
    gop: int = 2
    bframes: int = 0
    open_gop: bool = False
    crf: int = 30
    preset: str | None = None
    pix_fmt: Literal["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"] = "yuv420p"
    color_range: Literal["tv", "pc"] | None = None
    colorspace: Literal["bt709", "bt601"] | None = None

    def __post_init__(self) -> None:
        if "420" in self.pix_fmt and (self.height % 2 or self.width % 2):
            raise ValueError(f"{self.pix_fmt} needs even sizes, not {self.height}x{self.width}")
        if self.codec == "libsvtav1" and (self.bframes or "420" not in self.pix_fmt):
            raise ValueError(f"libsvtav1 takes neither bframes ({self.bframes}) nor {self.pix_fmt}")

    @property
    def codec_name(self) -> str:
        """The codec as LeRobot's info.json names it."""
        return CODEC_NAMES[self.codec]

    @property
    def encoder_options(self) -> dict[str, str]:
        # Exactly the key and B-frames asked for, whatever the picture: the encoders' own choices are turned off.
        x26x = f"scenecut=0:b-adapt=0:open-gop={int(self.open_gop)}"
        own = {
            "libsvtav1": {"svtav1-params": f"lp=1:irefresh-type={1 if self.open_gop else 2}"},
            "libx264": {"x264-params": x26x},
            "libx265": {"x265-params": f"{x26x}:log-level=none:pools=none:frame-threads=1"},
        }[self.codec]
        preset = self.preset or ("12" if self.codec == "libsvtav1" else "veryfast")
        bframes = {} if self.codec == "libsvtav1" else {"bf": str(self.bframes)}
        return {"g": str(self.gop), "crf": str(self.crf), "preset": preset, **bframes, **own}


LEROBOT_VIDEO = SyntheticVideo()


def write_video(
    path: Path,
    *,
    num_frames: int,
    fps: Fraction | int,
    episode: int = 0,
    camera: int = 0,
    video: SyntheticVideo = LEROBOT_VIDEO,
    first_frame: int = 0,
) -> None:
    """Frames [first_frame, first_frame + num_frames) of one episode as one mp4."""
    stamps = [Stamp(frame, episode, camera) for frame in range(first_frame, first_frame + num_frames)]
    encode(path, stamps, fps=fps, video=video)


def encode(path: Path, stamps: Iterable[Stamp], *, fps: Fraction | int, video: SyntheticVideo) -> None:
    """One continuous stream, a frame per stamp, constant rate, first time stamp 0."""
    stamps = list(stamps)
    if len(stamps) < FEWEST_FOR_B_FRAMES:
        video = replace(video, bframes=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video.codec, rate=Fraction(fps), options=video.encoder_options)
        stream.height, stream.width, stream.pix_fmt = video.height, video.width, video.pix_fmt
        stream.codec_context.time_base = 1 / Fraction(fps)
        stream.codec_context.thread_count = 1  # The same bytes on every machine.
        if video.color_range:
            stream.codec_context.color_range = _COLOR_RANGES[video.color_range]
        if video.colorspace:
            stream.codec_context.colorspace = _COLORSPACES[video.colorspace][1]
        for position, stamp in enumerate(stamps):
            frame = _to_yuv(draw(stamp.frame, stamp.episode, stamp.camera, video.height, video.width), video)
            frame.pts, frame.time_base = position, 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if video.codec == "libsvtav1":
        # As root it gives this thread real-time priority, before which all other processes of the tests have to wait.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def turn_video(path: Path, turn: tuple[int, int, int, int]) -> None:
    """Gives an mp4 a display matrix (a, b, c, d), which players apply as (x, y) -> (ax + cy, bx + dy)."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44  # version 0: flags, times, number, duration, layer and volume
    a, b, c, d = (part << 16 for part in turn)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def read_video(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame of an mp4 in order of presentation, each (H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False) for frame in container.decode(video=0)]


def read_stamps(path: Path) -> list[Stamp]:
    """What the frames of an mp4 of source pictures, or of centre-cropped ones, say about themselves."""
    return [read(image) for image in read_video(path)]


def encode_picture(image: NDArray[np.uint8], picture_format: Literal["png", "jpeg"] = "png") -> bytes:
    """A (H, W, 3) uint8 RGB image as a PNG or JPEG file."""
    codec, pix_fmt = {"png": ("png", "rgb24"), "jpeg": ("mjpeg", "yuvj420p")}[picture_format]
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = *image.shape[:2], pix_fmt, Fraction(1, 50)
    encoder.open()
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _to_yuv(image: NDArray[np.uint8], video: SyntheticVideo) -> av.VideoFrame:
    color_range = _COLOR_RANGES.get(video.color_range or "")
    colorspace, tag = _COLORSPACES.get(video.colorspace or "", (None, None))
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
        format=video.pix_fmt, dst_colorspace=colorspace, dst_color_range=color_range
    )
    # PyAV 15 and 16 convert the pixels but leave the frame untagged.
    if color_range:
        frame.color_range = color_range
    if tag:
        frame.colorspace = tag
    return frame


def cut_by_edit_list(path: Path, num_frames: int) -> None:
    """Hides the first frames of an H.264 mp4 as `ffmpeg -ss TIME -c copy` does: an edit list cuts off their packets."""
    new_path = path.with_suffix(".new.mp4")
    with av.open(str(path)) as old, av.open(str(new_path), "w") as new:
        stream = old.streams.video[0]
        out = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        times = sorted(packet.pts for packet in packets if packet.pts is not None)
        for packet in packets:
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = packet.pts - times[num_frames], packet.dts - times[num_frames]
            packet.stream = out
            new.mux(packet)
    new_path.replace(path)
