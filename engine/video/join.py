"""Join clips of one encoder into a file, packet by packet: nothing is decoded, and no time drifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av

from millrace.engine.errors import VideoError
from millrace.engine.sources import name_file_in_errors
from millrace.engine.video.decode import open_video


@dataclass(frozen=True)
class StreamKind:
    """What streams must have in common to share a file: format, and the encoder's parameter sets."""

    codec: str
    width: int
    height: int
    parameters: bytes


def read_stream_kind(path: Path) -> StreamKind:
    """The kind of a clip's stream.

    Raises:
        VideoError: the file is missing or corrupt.
    """
    with open_video(path) as (_, stream):
        codec = stream.codec_context
        return StreamKind(codec.codec.canonical_name, codec.width, codec.height, bytes(codec.extradata or b""))


def join_clips(clips: Sequence[Path], num_frames: Sequence[int], path: Path, fps: Fraction) -> None:
    """Write the packets of clips of one kind one after another to `path`; frame n is shown at n / fps, exactly.

    Args:
        clips: Each begins with a key frame and has no B-frames.
        num_frames: Frames of each clip.
        path: An mp4, its index in front.
        fps: Of all clips.

    Raises:
        VideoError: a clip is missing or corrupt, or holds more or fewer frames.
    """
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    written = partial(av.open, str(path), "w", format="mp4", options=options)
    with open_video(clips[0]) as (_, template), name_file_in_errors(path), written() as out:
        joined = out.add_stream_from_template(template)
        joined.time_base = 1 / fps
        number = 0
        for clip, length in zip(clips, num_frames, strict=True):
            due = number + length
            with open_video(clip) as (container, stream):
                for packet in container.demux(stream):
                    if packet.size:  # a demux ends with an empty packet
                        packet.stream, packet.time_base = joined, 1 / fps
                        packet.pts, packet.dts, packet.duration = number, number, 1
                        out.mux(packet)
                        number += 1
            if number != due:
                message = f"{clip} holds {number - due + length} frames, expected {length}"
                raise VideoError(message, file=clip, got=number - due + length, expected=length)
