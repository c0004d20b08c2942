"""Find a clip in a file that it shares with others: its times, and its packets."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from millrace.engine.sources import Clip

# libav's times have 64 bits; a hostile start time is near their end.
MAX_PTS = 2**62


def clip_bounds(clip: Clip, stream: VideoStream) -> tuple[int, int]:
    """Times [start, stop) of a part of a file, half a frame early, as offsets drift a little."""
    assert clip.start_seconds is not None
    early = clip.start_seconds - float(1 / clip.fps / 2)
    return _to_pts(early, stream), _to_pts(early + float(clip.num_frames / clip.fps), stream)


def clip_packets(container: InputContainer, stream: VideoStream, clip: Clip) -> Iterator[av.Packet]:
    """Packets in file order, from the last key frame before the clip until none can belong to it."""
    end = None
    if clip.start_seconds is not None:
        _seek_key_frame(container, stream, clip_bounds(clip, stream)[0])
        end = _to_pts(clip.start_seconds + float((clip.num_frames + 1) / clip.fps), stream)
    for packet in container.demux(stream):
        if end is not None and packet.dts is not None and packet.dts >= end:
            return
        if packet.size:  # a demux ends with an empty packet
            yield packet


def _seek_key_frame(container: InputContainer, stream: VideoStream, pts: int) -> None:
    """Go to a key frame that is shown at or before `pts`; libav itself looks for one that is decoded by then."""
    begin = stream.start_time or 0
    target = pts = max(pts, begin)
    while True:
        container.seek(target, stream=stream, backward=True)
        first = next((packet for packet in container.demux(stream) if packet.size), None)
        if first is None or first.pts is None or first.dts is None or first.pts <= pts:
            break
        if (earlier := min(first.pts, first.dts) - 1) < begin:
            break
        target = earlier
    container.seek(target, stream=stream, backward=True)


def _to_pts(seconds: float, stream: VideoStream) -> int:
    assert stream.time_base is not None
    pts: int = round(Fraction(seconds) / stream.time_base) + (stream.start_time or 0)
    return min(pts, MAX_PTS)
