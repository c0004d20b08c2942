"""Strip PNG and JPEG files of texts, profiles and thumbnails, which may unpack to gigabytes."""

from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
# What pixels are made of, and short remarks on their colours and shape (PNG, third edition, 11.2 and 11.3).
KEPT_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs"))
MAX_SHORT_BYTES = 1024
# libpng writes chunks of 8 kB, and the largest image takes 265 MB.
MAX_CHUNKS = 1 << 16
# Filters and interlacing add a byte a row, deflate a few a block.
SLACK_BYTES = 1 << 16
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type
# JFIF tells the shape of pixels, Adobe's segment how colours are coded.
APP0, APP14, APP15, COMMENT, RST0, START_OF_SCAN = 0xE0, 0xEE, 0xEF, 0xFE, 0xD0, 0xDA
# Progressive files have about ten scans; each costs as much time as an image.
MAX_SCANS = 256


def strip_png(content: bytes) -> bytes:
    """Strip a PNG of all but its pixels.

    Raises:
        ValueError: it is malformed, or holds more than its pixels can need.
    """
    chunks = list(_png_chunks(content))
    size = sum(stop - start for kind, start, stop in chunks if kind == b"IDAT")
    if size > _max_png_bytes(content):
        raise ValueError(f"{size} bytes are more than its pixels can need")
    kept = [(start, stop) for kind, start, stop in chunks if _is_kept(kind, stop - start)]
    return (
        content
        if len(kept) == len(chunks)
        else content[: len(PNG)] + b"".join(content[start:stop] for start, stop in kept)
    )


def _is_kept(kind: bytes, num_bytes: int) -> bool:
    return kind in KEPT_CHUNKS and (kind == b"IDAT" or num_bytes <= MAX_SHORT_BYTES)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind and place of each chunk, its length and checksum included."""
    place = len(PNG)
    for _ in range(MAX_CHUNKS):
        if place + 12 > len(content):
            return
        stop = place + 12 + int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        yield kind, place, min(stop, len(content))
        if kind == b"IEND":
            return
        place = stop
    raise ValueError(f"it has more than {MAX_CHUNKS} chunks")


def _max_png_bytes(content: bytes) -> int:
    """The most bytes that a packed image of this size takes."""
    if content[12:16] != b"IHDR":
        raise ValueError("it begins with no header")
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    bits = content[24] * CHANNELS.get(content[25], 4)
    raw = 2 * height + (width * height * bits + 7) // 8
    return raw + raw // 8 + SLACK_BYTES


def strip_jpeg(content: bytes) -> bytes:
    """Strip a JPEG of comments and application segments, except JFIF's and Adobe's.

    Raises:
        ValueError: it has more scans than any image.
    """
    if content.count(bytes((0xFF, START_OF_SCAN))) > MAX_SCANS:
        raise ValueError(f"it has more than {MAX_SCANS} scans")
    parts, place = [content[:2]], 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a byte that fills up
            place += 1
            continue
        if marker < 0xC0 or RST0 <= marker <= START_OF_SCAN or length < 2:
            break
        is_added = (APP0 < marker <= APP15 and marker != APP14) or marker == COMMENT
        if not is_added:
            parts.append(content[place : place + 2 + length])
        place += 2 + length
    return b"".join([*parts, content[place:]])
