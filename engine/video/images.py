"""Decode images that lie in rows, a PNG or JPEG file each."""

from collections.abc import Iterator

import av
import numpy as np
import pyarrow as pa
from av.codec import CodecContext
from numpy.typing import NDArray

from millrace.engine.errors import FaultCode, FrameCountMismatch, VideoError
from millrace.engine.sources import ImageColumn, RowRange, diagnose_file, why_refused
from millrace.engine.sources.checked_parquet import DAMAGE
from millrace.engine.sources.row_stream import open_image_stream
from millrace.engine.video.decoder_limits import CODEC_OPTIONS
from millrace.engine.video.image_files import strip_jpeg, strip_png
from millrace.engine.video.referenced_images import read_image_file

JPEG_END = b"\xff\xd9"
DECODERS = {b"\x89PNG": "png", b"\xff\xd8\xff": "mjpeg"}


def decode_images(images: ImageColumn, indices: NDArray[np.int64]) -> Iterator[av.VideoFrame]:
    """Yield the images at `indices` (increasing, in [0, images.num_frames)), in order.

    Raises:
        VideoError: an image is missing or no PNG or JPEG.
        FrameCountMismatch: there are fewer rows than frames.
    """
    wanted = set(indices.tolist())
    number = 0
    for rows in images.rows:
        for image in _image_values(rows, images.column):
            if number in wanted:
                yield _decode_image(image, rows, f"'{images.column}' in row {number} of {rows}")
            number += 1
    if not images.num_frames <= number <= images.num_frames + images.max_spare:
        raise FrameCountMismatch(f"{number} rows of '{images.column}', expected {images.num_frames}")


def _image_values(rows: RowRange, column: str) -> Iterator[pa.Scalar]:
    """The column's values of a range of rows, a batch in memory at a time; rows beyond are not read."""
    if rows.root is not None and (refusal := why_refused(rows.path, rows.root)):
        raise VideoError(f"{rows.path} {refusal}", refusal.code)
    try:
        with open_image_stream(rows.path, column) as stream:
            stop = stream.num_rows if rows.stop is None else min(rows.stop, stream.num_rows)
            for batch in stream.read_batches(rows.start, stop) if rows.start < stop else ():
                yield from batch.column(0)
    except (*DAMAGE, LookupError) as error:
        code, what = diagnose_file(rows.path, error)
        raise VideoError(f"'{column}' of {rows} {what}", code) from error


def _decode_image(image: pa.Scalar, rows: RowRange, where: str) -> av.VideoFrame:
    try:
        value = image.as_py()
    except ValueError as error:  # the path beside it is no UTF-8
        raise VideoError(f"{where} is corrupt ({error})") from error
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None and isinstance(value, dict) and isinstance(value.get("path"), str):
        content = read_image_file(value["path"], rows, where)
    if not isinstance(content, bytes):
        raise VideoError(f"{where} holds no image", FaultCode.MISSING)
    decoder = next((name for magic, name in DECODERS.items() if content.startswith(magic)), None)
    if decoder is None:
        raise VideoError(f"{where} is neither PNG nor JPEG")
    if decoder == "mjpeg" and not content.rstrip(b"\0").endswith(JPEG_END):  # its decoder fills up what is missing
        raise VideoError(f"{where} is truncated", FaultCode.TRUNCATED)
    try:
        context = CodecContext.create(decoder, "r")
        context.thread_count = 1
        context.options = CODEC_OPTIONS
        bare = strip_png(content) if decoder == "png" else strip_jpeg(content)
        frames = [*context.decode(av.Packet(bare)), *context.decode(None)]
    except av.FFmpegError as error:
        raise VideoError(f"{where} is corrupt ({error.strerror})") from error
    except ValueError as error:
        raise VideoError(f"{where} is corrupt ({error})") from error
    if len(frames) != 1 or frames[0].is_corrupt:
        raise VideoError(f"{where} is corrupt")
    return frames[0]
