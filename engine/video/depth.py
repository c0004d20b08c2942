"""Encode depth as LeRobot 0.6 does, 12-bit grey in HEVC, without loss; count its codes, and show it."""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.sources import Clip, name_file_in_errors
from millrace.engine.sources.depth_scale import MM, NUM_CODES, PIX_FMT, DepthScale
from millrace.engine.video.decode import decode_frames

ENCODER = "libx265"
PNG_FMT = "gray16be"
# Key frames that nothing refers across, no B-frames, as clips are joined; one thread, so that bytes are the same.
X265 = "lossless=1:bframes=0:open-gop=0:scenecut=0:frame-threads=1:pools=none:wpp=0:info=0:log-level=error"


def write_depth(clip: Clip, indices: NDArray[np.int64], path: Path, fps: Fraction, *, gop: int) -> None:
    """Write the frames at `indices` of a depth clip to an mp4 at `path`, and check that each code is kept.

    Raises:
        VideoError: the clip is missing or corrupt, or its frames are not 12-bit grey.
    """
    digests: list[bytes] = []
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with name_file_in_errors(path), av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream(ENCODER, rate=fps, options={"preset": "veryfast", "x265-params": X265})
        encoder = stream.codec_context
        encoder.pix_fmt, encoder.time_base, encoder.thread_count, encoder.gop_size = PIX_FMT, 1 / fps, 1, gop
        for number, codes in enumerate(decode_codes(clip, indices)):
            if number == 0:
                encoder.height, encoder.width = codes.shape
            frame = av.VideoFrame.from_ndarray(codes, format=PIX_FMT)
            frame.pts, frame.time_base = number, encoder.time_base
            digests.append(_digest(codes))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    written = Clip(path, len(indices), fps)
    if list(map(_digest, decode_codes(written, np.arange(len(indices))))) != digests:
        message = "what was written is not what was read: its depth has other codes"
        raise VideoError(message, code=FaultCode.INTERNAL, file=path)


def count_codes(clip: Clip, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each code occurs in some frames of a depth clip, (4096,)."""
    counts = np.zeros(NUM_CODES, dtype=np.int64)
    for codes in decode_codes(clip, indices):
        counts += np.bincount(codes.ravel(), minlength=NUM_CODES)
    return counts


def make_depth_pngs(clip: Clip, scale: DepthScale) -> Iterator[bytes]:
    """Yield every frame of a depth clip as a PNG file of whole millimetres, up to 65.535 m, one in memory at a time.

    Raises:
        VideoError: the clip is missing or corrupt, or its frames are not 12-bit grey.
    """
    millimetres = scale.levels * (1 if scale.depth_unit == "mm" else MM)
    levels = np.clip(np.round(millimetres), 0, np.iinfo(np.uint16).max).astype(np.uint16)
    for codes in decode_codes(clip, np.arange(clip.num_frames, dtype=np.int64)):
        yield _encode_png(levels[codes])


def _encode_png(values: NDArray[np.uint16]) -> bytes:
    """A PNG file; values: (H, W)."""
    frame = av.VideoFrame.from_ndarray(values, format=PNG_FMT)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = frame.width, frame.height, PNG_FMT, Fraction(1)
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def decode_codes(clip: Clip, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint16]]:
    """The codes of each frame, (H, W), below 4096."""
    for frame in decode_frames(clip, indices):
        if frame.format.name != PIX_FMT:
            message = f"{clip.path} holds {frame.format.name}, not depth in {PIX_FMT} as info.json says"
            raise VideoError(message, file=clip.path, got=frame.format.name, expected=PIX_FMT)
        yield frame.to_ndarray(format=PIX_FMT)


def _digest(codes: NDArray[np.uint16]) -> bytes:
    return hashlib.sha256(codes.tobytes()).digest()
