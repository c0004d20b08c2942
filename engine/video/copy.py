"""Copy clips that already have the output's format instead of encoding them again."""

import shutil
from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from millrace.engine.sources import Clip, name_file_in_errors
from millrace.engine.video.boxes import read_boxes
from millrace.engine.video.decode import open_video, translate_errors
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.seek import clip_bounds, clip_packets

CODEC, PIXELS = "h264", ("yuv420p", "yuvj420p")

# What an encoder writes; anything else, such as a place or a date, is not copied.
PLAIN_METADATA = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "language",
    "handler_name",
    "vendor_id",
}
PLAIN_BOXES = {
    *("ftyp", "free", "mdat", "moov", "moov/mvhd", "moov/udta", "moov/trak", "moov/trak/tkhd", "moov/trak/edts"),
    *("moov/trak/mdia", "moov/trak/mdia/mdhd", "moov/trak/mdia/hdlr", "moov/trak/mdia/minf"),
}


class ClipCopy(Enum):
    """What is copied of a clip."""

    FILE = "the file as it is"
    PACKETS = "its packets, in a file of their own"


def choose_copy(clip: Clip, settings: VideoSettings) -> ClipCopy | None:
    """Choose how a clip can be copied; None where it must be encoded, or something is wrong with it.

    A clip that can be copied has the codec, pixel format, size and rate of the settings, a key frame every `gop`
    frames and nowhere else, no B-frames, and no edit list that cuts frames off. Its packets are read,
    nothing is decoded.

    Raises:
        VideoError: the file is missing or corrupt.
    """
    with open_video(clip.path, clip.root) as (container, stream):
        if not _has_format(stream, settings):
            return None
        is_alone = len(container.streams) == 1 and "mp4" in container.format.name.split(",")
        packets = [
            (packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
            for packet in _own_packets(container, stream, clip)
        ]
        has_plain_metadata = container.metadata.keys() | stream.metadata.keys() <= PLAIN_METADATA
        assert stream.time_base is not None
        time_base = stream.time_base
    if len(packets) != clip.num_frames or any(pts is None or pts != dts or is_cut for pts, dts, _, is_cut in packets):
        return None
    times = np.array([pts for pts, *_ in packets], dtype=np.int64)
    keys = np.flatnonzero([is_keyframe for _, _, is_keyframe, _ in packets])
    if not np.array_equal(keys, np.arange(0, len(packets), settings.gop)):
        return None
    if not _is_regular(times, 1 / (settings.fps * time_base)):
        return None
    span = int(times[-1] - times[0]) * time_base
    if not (boxes := read_boxes(clip.path)).is_upright:
        return None
    is_plain = boxes.names <= PLAIN_BOXES and has_plain_metadata
    is_exact = times[0] == 0 and span * settings.fps == len(packets) - 1
    return ClipCopy.FILE if is_exact and is_alone and is_plain and clip.start_seconds is None else ClipCopy.PACKETS


def copy_clip(clip: Clip, path: Path, how: ClipCopy, settings: VideoSettings) -> None:
    """Write a clip that `choose_copy` allows to `path`; its packets get new times, from 0."""
    if how is ClipCopy.FILE:
        with name_file_in_errors(path):
            shutil.copyfile(clip.path, path)
        return
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    written = partial(av.open, str(path), "w", format="mp4", options=options)
    with open_video(clip.path, clip.root) as (container, stream), name_file_in_errors(path), written() as out:
        copy = out.add_stream_from_template(stream)
        copy.time_base = 1 / settings.fps
        for number, packet in enumerate(_read_packets(container, stream, clip)):
            packet.stream, packet.time_base = copy, 1 / settings.fps
            packet.pts, packet.dts, packet.duration = number, number, 1
            out.mux(packet)


def _read_packets(container: InputContainer, stream: VideoStream, clip: Clip) -> Iterator[av.Packet]:
    """The clip's packets; errors of reading name its file, others are those of writing."""
    with translate_errors(clip.path):
        yield from _own_packets(container, stream, clip)


def _has_format(stream: VideoStream, settings: VideoSettings) -> bool:
    codec = stream.codec_context
    found = (codec.codec.canonical_name, codec.width, codec.height)
    has_square_pixels = stream.sample_aspect_ratio in (None, 0, 1)
    return found == (CODEC, *settings.size) and codec.pix_fmt in PIXELS and has_square_pixels


def _own_packets(container: InputContainer, stream: VideoStream, clip: Clip) -> Iterator[av.Packet]:
    """The clip's packets without those of the episodes beside it, in file order."""
    packets = clip_packets(container, stream, clip)
    if clip.start_seconds is None:
        return packets
    start, stop = clip_bounds(clip, stream)
    return (packet for packet in packets if packet.pts is not None and start <= packet.pts < stop)


def _is_regular(times: NDArray[np.int64], step: Fraction) -> bool:
    """Whether frames lie a step apart, to the tick."""
    due = times[0] + np.arange(len(times)) * float(step)
    return bool(np.all(np.abs(times - due) <= 1))
