"""The floor that no program can pass with these codecs: decode, crop and scale, encode, each alone.

Nothing is demuxed, written, counted or checked while the clock runs; no Python runs per pixel.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from time import process_time

import av
import numpy as np

from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.resample import nearest_indices
from millrace.engine.sources import Clip
from millrace.engine.video.backends import X264
from millrace.engine.video.decode import _feed, open_video
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.packets import PacketInfo, plan_packets
from millrace.engine.video.reframe import Crop, Reframer


@dataclass(frozen=True)
class Floor:
    """CPU seconds of decoding, cropping and scaling, and encoding, each alone."""

    decode: float
    reframe: float
    encode: float

    @property
    def total(self) -> float:
        """CPU seconds of all three."""
        return self.decode + self.reframe + self.encode


def whole_clips(plan: ConversionPlan) -> list[list[Clip]] | None:
    """Each episode's clips that are converted; None where some are not an mp4 of their own."""
    episodes = []
    for planned in plan.episodes:
        cameras = plan.job.bindings[planned.binding].cameras.values()
        found = [planned.episode.clips[camera] for camera in cameras]
        clips = [clip for clip in found if isinstance(clip, Clip) and clip.start_seconds is None]
        if len(clips) < len(found):
            return None
        episodes.append(clips)
    return episodes


def episode_floor(clips: list[Clip], settings: VideoSettings, *, crop: Crop) -> Floor:
    """The sum over an episode's clips, one for each camera; each has an mp4 of its own."""
    return _each_summed([_clip_floor(clip, settings, crop) for clip in clips])


def mean_floor(floors: list[Floor]) -> Floor:
    """The mean over episodes."""
    summed = _each_summed(floors)
    return Floor(summed.decode / len(floors), summed.reframe / len(floors), summed.encode / len(floors))


def _each_summed(floors: list[Floor]) -> Floor:
    return Floor(
        decode=sum(floor.decode for floor in floors),
        reframe=sum(floor.reframe for floor in floors),
        encode=sum(floor.encode for floor in floors),
    )


def _clip_floor(clip: Clip, settings: VideoSettings, crop: Crop) -> Floor:
    decode = _time_decode(clip, settings)
    reframe, reframed = _time_reframe(clip, settings, crop)
    return Floor(decode, reframe, _time_encode(reframed, settings))


def _time_decode(clip: Clip, settings: VideoSettings) -> float:
    """Frames are dropped as they come, as the decoder then uses their memory again."""
    with _decoding(clip, settings) as (frames, _):
        started = process_time()
        deque(frames, maxlen=0)
        return process_time() - started


def _time_reframe(clip: Clip, settings: VideoSettings, crop: Crop) -> tuple[float, list[av.VideoFrame]]:
    """Each frame twice: the first time brings it into the CPU's caches and is kept, the second is timed."""
    reframer = Reframer(crop=crop, size=settings.size)
    seconds, reframed = 0.0, []
    with _decoding(clip, settings) as (frames, wanted):
        for frame in frames:
            if frame.pts not in wanted:
                continue
            reframed.append(reframer(frame))
            started = process_time()
            reframer(frame)
            seconds += process_time() - started
    return seconds, reframed


@contextmanager
def _decoding(clip: Clip, settings: VideoSettings) -> Iterator[tuple[Iterator[av.VideoFrame], set[int]]]:
    """Frames as Millrace decodes them, from packets that lie ready in memory; and the wanted frames' times."""
    indices = nearest_indices(clip.num_frames, source_fps=clip.fps, target_fps=settings.fps)
    with open_video(clip.path) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = np.sort([packet.pts for packet in packets])
        wanted = set(times[indices].tolist())
        uses = plan_packets([PacketInfo(packet.pts, packet.is_keyframe) for packet in packets], wanted)
        yield _feed(iter(packets), uses, stream.codec_context), wanted


def _time_encode(frames: list[av.VideoFrame], settings: VideoSettings) -> float:
    encoder = av.CodecContext.create(X264, "w")
    encoder.width, encoder.height = settings.size
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
