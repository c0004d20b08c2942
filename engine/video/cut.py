"""Cut a clip out of the file that it shares with others, as an mp4 of its own, without encoding it again."""

from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from millrace.engine.sources import Clip
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import frame_times, open_video
from millrace.engine.video.packets import PacketInfo
from millrace.engine.video.seek import clip_packets


@dataclass(frozen=True, eq=False)
class CutClip:
    """A clip as an mp4 file, its packets as they were stored.

    places: of the clip's frames, (num_frames,), among all frames of the file in the order of their times: those before
    the clip, from the last key frame on, are there to decode it. num_stored: of all frames of the file.
    """

    content: bytes
    places: NDArray[np.int64]
    num_stored: int


def cut_clip(clip: Clip, codecs: tuple[str, ...], *, max_bytes: int) -> CutClip | None:
    """Copy the packets that a clip needs into an mp4 in memory; None where its frames must be decoded instead.

    That is so for other codecs, where packets do not map one to one to frames or frames are shown before their key
    frame, where frames are turned or have pixels that are not square, which players heed differently, and where the
    packets are larger than `max_bytes`.

    Args:
        clip: A whole video, or a part of one.
        codecs: As libav names them.
        max_bytes: Of the packets.

    Raises:
        VideoError: the file is missing, holds no video or is corrupt.
    """
    with open_video(clip.path, clip.root) as (container, stream):
        codec = stream.codec_context.codec.canonical_name
        if (
            codec not in codecs
            or stream.sample_aspect_ratio not in (None, 0, 1)
            or not read_boxes(clip.path).is_upright
        ):
            return None
        packets = _read_packets(container, stream, clip, max_bytes)
        if packets is None:
            return None
        facts = [PacketInfo(packet.pts, packet.is_keyframe, packet.is_discard) for packet in packets]
        times = frame_times(facts, stream, clip)
        if times is None or any(fact.is_discard for fact in facts) or _has_open_groups(packets):
            return None
        content = _write(packets, stream)
    stored = np.sort(np.array([fact.pts for fact in facts], dtype=np.int64))
    return CutClip(content, np.searchsorted(stored, times), len(stored))


def _has_open_groups(packets: list[av.Packet]) -> bool:
    """Whether frames are shown before a key frame that precedes them: who starts there cannot decode them."""
    times = np.array([packet.pts for packet in packets], dtype=np.int64)
    earliest = np.minimum.accumulate(times[::-1])[::-1]
    return bool((earliest < times)[[packet.is_keyframe for packet in packets]].any())


def _read_packets(container: InputContainer, stream: VideoStream, clip: Clip, max_bytes: int) -> list[av.Packet] | None:
    """The packets; None where they are too large, damaged or have no times."""
    packets: list[av.Packet] = []
    num_bytes = 0
    for packet in clip_packets(container, stream, clip):
        num_bytes += packet.size
        if num_bytes > max_bytes or packet.is_corrupt or packet.pts is None or packet.dts is None:
            return None
        packets.append(packet)
    return packets or None


def _write(packets: list[av.Packet], stream: VideoStream) -> bytes:
    """The packets as an mp4 that begins at time 0."""
    start = min(packet.dts for packet in packets if packet.dts is not None)
    time_base = stream.time_base or Fraction(1, 90_000)
    file = BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as out:
        copy = out.add_stream_from_template(stream, opaque=True)  # libav's decoder may be no encoder
        copy.time_base = time_base
        for packet in packets:
            packet.stream = copy
            packet.pts, packet.dts, packet.time_base = packet.pts - start, packet.dts - start, time_base
            out.mux(packet)
    return file.getvalue()
