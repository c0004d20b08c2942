"""PNG and JPEG files in rows: texts and profiles cost nothing, pixels stay what they are."""

import zlib
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace.engine.sources.row_stream
from millrace.engine.sources.checked_parquet import CheckedParquet
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.row_images import ImageColumn
from millrace.engine.video.image_files import strip_jpeg, strip_png
from millrace.engine.video.images import decode_images
from support.synthetic import encode_picture

PICTURE = encode_picture(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_chunks(*chunks: bytes) -> bytes:
    """The picture with chunks behind its header of 33 bytes."""
    return PICTURE[:33] + b"".join(chunks) + PICTURE[33:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"eXIf", b"spAL"])
def test_what_needs_no_decoding_is_dropped(kind: bytes) -> None:
    assert strip_png(with_chunks(*[chunk(kind, b"text\0\0" + zlib.compress(bytes(1 << 20)))] * 200)) == PICTURE


def test_what_pixels_mean_is_kept() -> None:
    short = with_chunks(chunk(b"tRNS", bytes(6)), chunk(b"gAMA", bytes(4)))
    assert strip_png(short) == short
    assert strip_png(PICTURE) is PICTURE


def test_more_pixels_than_a_picture_has_are_not_unpacked() -> None:
    with pytest.raises(ValueError, match="more than its pixels can need"):
        strip_png(with_chunks(chunk(b"IDAT", bytes(1 << 20))))
    with pytest.raises(ValueError, match="chunks"):
        strip_png(with_chunks(*[chunk(b"tEXt", b"")] * 70_000))


def test_a_jpeg_keeps_its_pixels_alone() -> None:
    jpeg = encode_picture(np.full((16, 16, 3), 90, np.uint8), "jpeg")
    added = b"".join(b"\xff" + bytes([marker]) + (50_000).to_bytes(2, "big") + bytes(49_998) for marker in (0xE2, 0xFE))
    bare = strip_jpeg(jpeg[:2] + added + jpeg[2:])
    assert bare == strip_jpeg(jpeg)
    assert len(bare) <= len(jpeg)
    first, second = (av.CodecContext.create("mjpeg", "r").decode(av.Packet(content))[0] for content in (jpeg, bare))
    assert np.array_equal(first.to_ndarray(), second.to_ndarray())


def test_pictures_of_a_row_group_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"top": [{"bytes": PICTURE, "path": None}] * 60}), path)
    read = []
    batches = CheckedParquet.batches

    def count(*arguments: object) -> object:
        for batch in batches(*arguments):  # type: ignore[arg-type]
            read.append(len(batch))
            yield batch

    monkeypatch.setattr(CheckedParquet, "batches", count)
    monkeypatch.setattr(millrace.engine.sources.row_stream, "_kept", {})
    for start in range(0, 60, 5):
        frames = decode_images(ImageColumn((RowRange(path, start, start + 5),), "top", 5), np.arange(5))
        assert len(list(frames)) == 5
    assert sum(read) == 60
