"""Other ways to the same pictures: the ALOHA guide's, ffmpeg's, and the floor that no program can pass.

Each takes one clip of a whole mp4 to `image_size` square H.264 and is given the same work.
"""

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import process_time

import av
import cv2
import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np

from engine.resample import linspace, nearest
from engine.sources import Clip
from engine.video.decode import open_video
from engine.video.encode import CODEC, VideoSettings
from engine.video.packets import PacketInfo, Use, plan_packets
from engine.video.reframe import Reframer


def convert_as_guide(clip: Clip, out: Path, settings: VideoSettings) -> None:
    """The guide's step 2.4: every frame as RGB, its indices, centre crop, INTER_AREA, re-encode."""
    reader = imageio.get_reader(clip.path)
    frames = [frame for frame in reader]  # noqa: C416 (its length hint is infinite)
    reader.close()
    indices = linspace(len(frames), source_fps=clip.fps, target_fps=settings.fps)
    with imageio.get_writer(out, fps=float(settings.fps), codec=CODEC) as writer:
        for index in indices:
            frame = frames[index]
            side = min(frame.shape[:2])
            top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
            square = frame[top : top + side, left : left + side]
            size = (settings.image_size, settings.image_size)
            writer.append_data(cv2.resize(square, size, interpolation=cv2.INTER_AREA))


def ffmpeg_command(clip: Clip, out: Path, settings: VideoSettings) -> list[str]:
    """One thread: the best that ffmpeg does with a core."""
    with open_video(clip.path) as (_, stream):
        side = min(stream.width, stream.height)
    size = settings.image_size
    filters = f"fps={settings.fps},crop={side}:{side},scale={size}:{size}:flags=area"
    options = "-threads 1 -preset veryfast -crf 18 -g 10 -bf 0 -tune fastdecode -pix_fmt yuv420p"
    threads = ["-threads", "1", "-filter_threads", "1"]
    quiet = ["-y", "-nostdin", "-loglevel", "error"]
    reading = [imageio_ffmpeg.get_ffmpeg_exe(), *quiet, *threads, "-i", str(clip.path)]
    return [*reading, "-vf", filters, "-c:v", CODEC, *options.split(), str(out)]


def convert_with_ffmpeg(clip: Clip, out: Path, settings: VideoSettings) -> None:
    """Run `ffmpeg_command`."""
    subprocess.run(ffmpeg_command(clip, out, settings), check=True)


@dataclass(frozen=True)
class Floor:
    """CPU seconds of one clip's decoding, cropping and scaling, and encoding, each alone."""

    decode: float
    reframe: float
    encode: float

    @property
    def total(self) -> float:
        """Less is not possible with these codecs."""
        return self.decode + self.reframe + self.encode


def floor(clip: Clip, settings: VideoSettings) -> Floor:
    """Time each stage alone, on inputs that lie ready in memory; nothing is read, written or counted."""
    indices = nearest(clip.num_frames, source_fps=clip.fps, target_fps=settings.fps)
    decode, decoded = _decode(clip, indices.tolist())
    reframer = Reframer(crop="center", image_size=settings.image_size)
    reframer(decoded[0])  # builds its graph
    started = process_time()
    reframed = [reframer(frame) for frame in decoded]
    reframe = process_time() - started
    return Floor(decode, reframe, _encode(reframed, settings))


def _decode(clip: Clip, indices: list[int]) -> tuple[float, list[av.VideoFrame]]:
    with open_video(clip.path) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = np.sort([packet.pts for packet in packets])
        wanted = set(times[indices].tolist())
        uses = plan_packets([PacketInfo(packet.pts, packet.is_keyframe) for packet in packets], wanted)
        needed = [packet for packet, use in zip(packets, uses, strict=True) if use is not Use.SKIP]
        decoder = stream.codec_context
        started = process_time()
        frames = [frame for packet in needed for frame in decoder.decode(packet)]
        frames += decoder.decode(None)
        seconds = process_time() - started
    return seconds, [frame for frame in frames if frame.pts in wanted]


def _encode(frames: list[av.VideoFrame], settings: VideoSettings) -> float:
    encoder = av.CodecContext.create(CODEC, "w")
    encoder.width = encoder.height = settings.image_size
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1) / settings.fps
    encoder.framerate, encoder.thread_count = settings.fps, 1
    encoder.options = settings.options
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base, frame.pict_type = number, encoder.time_base, 0
    started = process_time()
    for frame in frames:
        encoder.encode(frame)
    encoder.encode(None)
    return process_time() - started
