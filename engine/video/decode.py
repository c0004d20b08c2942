"""Decode the wanted frames of a clip from no more packets than they need, one frame in memory at a time."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError, length_advice
from millrace.engine.sources import Camera, Clip, diagnose_file, why_refused
from millrace.engine.sources.damage import classify_damage
from millrace.engine.video.decoder_limits import CODEC_OPTIONS, check_frame_size
from millrace.engine.video.images import decode_images
from millrace.engine.video.packets import PacketInfo, PacketUse, is_one_to_one, plan_packets
from millrace.engine.video.seek import clip_bounds, clip_packets

# A video file is untrusted: no network protocols, no playlists that open other files.
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": "mov,matroska,avi", **CODEC_OPTIONS}
# Texts in a container need not be UTF-8. PyAV 19 reads them when they are asked for, earlier ones while opening.
METADATA = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
# libav gives other numbers of the system, EIO above all, to what it finds damaged itself.
CERTAIN = (errno.ESTALE, errno.ETIMEDOUT, errno.EACCES, errno.EMFILE, errno.ENFILE)
# Of a clip's packets: to open and read a small file once more costs a fifth of what decoding some of its frames does.
MAX_HELD_BYTES = 4 << 20
# Decoders that may be fed the next key frame without being drained and flushed in between.
RESTARTS_AT_KEYFRAMES = {"libdav1d", "av1", "libaom-av1"}

Frame = av.VideoFrame
OpenDecoder = Callable[[VideoStream], VideoCodecContext]


def open_cpu_decoder(stream: VideoStream) -> VideoCodecContext:
    """The decoder that libav prefers for a stream, on the CPU."""
    return stream.codec_context


def decode_clip(
    clip: Camera, indices: NDArray[np.int64], *, decoder: OpenDecoder = open_cpu_decoder
) -> Iterator[av.VideoFrame]:
    """Yield the frames at `indices` of any kind of clip; see `decode_frames` and `decode_images`."""
    if clip.video is None:
        return decode_images(clip, indices)
    return decode_frames(clip.video, indices, decoder=decoder)


def frame_seconds(clip: Clip) -> NDArray[np.float64]:
    """Presentation times of a clip's packets, rising, in seconds; nothing is decoded.

    Of a clip that is a part of a file, those of a few frames before and after it are among them.

    Raises:
        VideoError: the file is missing, holds no video or is corrupt.
    """
    with open_video(clip.path, clip.root) as (container, stream):
        times = [packet.pts for packet in clip_packets(container, stream, clip) if packet.pts is not None]
        return np.sort(np.array(times, dtype=np.float64)) * float(stream.time_base or 0)


def decode_frames(
    clip: Clip, indices: NDArray[np.int64], *, decoder: OpenDecoder = open_cpu_decoder
) -> Iterator[av.VideoFrame]:
    """Yield the frames at `indices` (strictly increasing, in [0, clip.num_frames)), in order.

    Packets are counted against the clip's frames before anything is decoded; where they do not map
    one to one to frames, everything is decoded and the frames are counted instead.

    Args:
        clip: A whole mp4, or a part of one.
        indices: Of the wanted frames.
        decoder: Opens what decodes the stream.

    Raises:
        VideoError: the file is missing, holds no video, is truncated or corrupt.
        FrameCountMismatch: it holds more or fewer frames than the clip promises.
    """
    assert np.all(np.diff(indices) > 0), "frame indices increase"
    with open_video(clip.path, clip.root) as (container, stream):
        packets, held = _scan_packets(container, stream, clip)
        times = frame_times(packets, stream, clip)
        if times is not None:
            num_shown = 0
            for frame in _decode_planned(decoder(stream), _reread_packets(clip, held), clip, packets, times[indices]):
                yield frame
                num_shown += 1
            indices = indices[num_shown:]
    # Packets do not tell all frames, or not all of them can be decoded from a key frame on: decode everything.
    if len(indices):
        with open_video(clip.path, clip.root) as (container, stream):
            bounds = None if clip.start_seconds is None else clip_bounds(clip, stream)
            frames = _feed_all(decoder(stream), clip_packets(container, stream, clip))
            yield from _count_and_select(frames, clip, indices, bounds)


@contextmanager
def open_video(path: Path, root: Path | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video: its container and video stream, one codec thread. libav's errors become `VideoError`.

    Args:
        path: Of the video.
        root: The dataset that it must lie in; None: not checked.
    """
    if root is not None and (refusal := why_refused(path, root)):
        raise VideoError(f"{path} ", refusal.reason, code=refusal.code, file=path)
    if not path.is_file():
        raise VideoError(f"no video at {path}", code=FaultCode.MISSING, file=path)
    with translate_errors(path), av.open(str(path), options=OPEN_OPTIONS, **METADATA) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise VideoError(f"{path} holds no video stream that can be decoded", file=path)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = CODEC_OPTIONS
        check_frame_size(stream.codec_context, path)
        yield container, stream


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn libav's errors while a video is read into `VideoError`, which names the file.

    Raises:
        VideoError: in place of such an error.
    """
    try:
        yield
    except (av.FFmpegError, UnknownCodecError) as error:
        code, what = diagnose_file(path, error, certain=CERTAIN)
        if code is FaultCode.TRUNCATED and path.stat().st_size == 0:
            what = "is empty"
        raise VideoError(f"{path} ", what, code=code, file=path) from error


def _scan_packets(
    container: InputContainer, stream: VideoStream, clip: Clip
) -> tuple[list[PacketInfo], list[av.Packet] | None]:
    """What the container says of the clip's packets, and these themselves unless they are large."""
    packets: list[PacketInfo] = []
    held: list[av.Packet] = []
    num_bytes = 0
    for packet in clip_packets(container, stream, clip):
        if packet.is_corrupt:
            raise VideoError(
                f"{clip.path} is truncated or corrupt at packet {len(packets)}",
                code=classify_damage(clip.path),
                file=clip.path,
            )
        packets.append(PacketInfo(packet.pts, packet.is_keyframe, packet.is_discard))
        num_bytes += packet.size
        if num_bytes <= MAX_HELD_BYTES:
            held.append(packet)
    return packets, held if num_bytes <= MAX_HELD_BYTES else None


def _reread_packets(clip: Clip, held: list[av.Packet] | None) -> Iterator[av.Packet]:
    """The scanned packets; where they were too large to be held, read again from the file."""
    if held is not None:
        yield from held
        return
    with open_video(clip.path, clip.root) as (container, stream):
        yield from clip_packets(container, stream, clip)


def frame_times(packets: list[PacketInfo], stream: VideoStream, clip: Clip) -> NDArray[np.int64] | None:
    """The clip's presentation times, shape (num_frames,); None where packets do not tell its frames."""
    if not is_one_to_one(packets):
        return None
    times = np.sort(np.array([packet.pts for packet in packets if not packet.is_discard], dtype=np.int64))
    if clip.start_seconds is not None:
        start, stop = clip_bounds(clip, stream)
        times = times[(times >= start) & (times < stop)]
    return times[: clip.num_frames] if _is_as_long(clip, len(times)) else None


def _is_as_long(clip: Clip, num_frames: int) -> bool:
    """Whether so many frames are the clip's, and no more to spare than it may have in a file of its own."""
    max_spare = clip.max_spare if clip.start_seconds is None else 0
    return clip.num_frames <= num_frames <= clip.num_frames + max_spare


def _decode_planned(
    decoder: VideoCodecContext,
    shown: Iterator[av.Packet],
    clip: Clip,
    packets: list[PacketInfo],
    wanted_times: NDArray[np.int64],
) -> Iterator[av.VideoFrame]:
    """The wanted frames that come out of the planned packets, in order, up to the first that does not."""
    wanted = iter(wanted_times.tolist())
    due = next(wanted)
    uses = plan_packets(packets, set(wanted_times.tolist()))
    for frame in _feed(shown, uses, decoder):
        _check_whole(frame, clip)
        if frame.pts == due:
            yield frame
            due = next(wanted, None)
            if due is None:
                return


def _feed(packets: Iterator[av.Packet], uses: list[PacketUse], decoder: VideoCodecContext) -> Iterator[av.VideoFrame]:
    decoder.open(strict=False)  # dav1d heeds skip_frame only as it is opened, and then for good
    must_flush = decoder.name not in RESTARTS_AT_KEYFRAMES
    has_skipped = False
    for packet, use in zip(packets, uses, strict=True):
        if use is PacketUse.SKIP:
            has_skipped = True
            continue
        if has_skipped and must_flush:
            yield from decoder.decode(None)
            decoder.flush_buffers()
        has_skipped = False
        decoder.skip_frame = "NONREF" if use is PacketUse.REFERENCE else "DEFAULT"
        yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _feed_all(decoder: VideoCodecContext, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
    for packet in packets:
        yield from decoder.decode(packet)
    yield from decoder.decode(None)


def _count_and_select(
    frames: Iterator[av.VideoFrame], clip: Clip, indices: NDArray[np.int64], bounds: tuple[int, int] | None
) -> Iterator[av.VideoFrame]:
    """The wanted frames, found by counting all frames; bounds: times [start, stop) of a part of a file."""
    wanted = set(indices.tolist())
    number = 0
    for frame in frames:
        _check_whole(frame, clip)
        if bounds is not None and (frame.pts is None or not bounds[0] <= frame.pts < bounds[1]):
            continue
        if number in wanted:
            yield frame
        number += 1
    if not _is_as_long(clip, number):
        where = "" if clip.start_seconds is None else f" from {clip.start_seconds:.3f} s on"
        advice = length_advice(clip.num_frames, number)
        raise FrameCountMismatch(
            f"{clip.num_frames} rows, but {number} frames in {clip.path}{where}; ",
            advice,
            file=clip.path,
            got=number,
            expected=clip.num_frames,
        )


def _check_whole(frame: av.VideoFrame, clip: Clip) -> None:
    if frame.is_corrupt:
        when = "" if frame.time is None else f" at {frame.time:.3f} s"
        raise VideoError(f"{clip.path} is corrupt: the frame{when} is damaged", file=clip.path)
