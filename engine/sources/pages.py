"""Sizes of a column's unpacked pages, by their headers before any is unpacked.

Field numbers and encodings are those of parquet.thrift (apache/parquet-format, 2.11).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from millrace.engine.sources.footer import Chunk, read_bounded, read_fields_once
from millrace.engine.sources.thrift import I32, STRUCT, CompactReader, Malformed

DATA, INDEX, DICTIONARY, DATA_V2 = range(4)
PLAIN_DICTIONARY, DELTA_LENGTH, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 2, 6, 7, 8
# The field of an image feature's struct that holds a picture's file.
PICTURE = b"bytes"
DELTAS = {DELTA_LENGTH, DELTA_BYTE_ARRAY}
# Header fields that hold a struct, by the page type that they belong to; num_values is field 1 of each.
DETAILS = {5: DATA, 7: DICTIONARY, 8: DATA_V2}
ENCODING = {DATA: 2, DICTIONARY: 2, DATA_V2: 4}
CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
MAX_INT32 = (1 << 31) - 1
# Headers take some 30 bytes, and statistics of a column's texts some kilobytes more.
FIRST_BYTES, MAX_HEADER_BYTES = 256, 1 << 20
# A page of numbers takes its values, their levels (rarely 4 bytes each) and little else.
LEVEL_BYTES = 8
SLACK_BYTES = 1 << 16
# What pages of texts or pictures may unpack to: so many bytes, or so many times what they take in the file.
PAGE_BYTES, PAGE_RATIO = 16 << 20, 8
# Writers put a thousand pictures into a page, which zstd may find all alike: so many bytes a picture, and in all.
PICTURE_BYTES, PICTURES_BYTES = 2 << 20, 512 << 20


@dataclass(frozen=True)
class Page:
    """One page's header. num_bytes: unpacked. start: where the packed bytes begin. num_stored: how many they are."""

    kind: int
    num_bytes: int
    num_stored: int
    num_values: int
    encoding: int
    start: int


def check_pages(file: BinaryIO, chunk: Chunk) -> None:
    """Check that no page unpacks to more than its values can need.

    Raises:
        Malformed: one does, or pages contradict the chunk.
    """
    for page in read_pages(file, chunk):
        _check_page(page, chunk)


def decoded_bytes(file: BinaryIO, chunk: Chunk, *, as_dictionary: bool = False) -> int:
    """Memory that a chunk's values take when all of them are read.

    Args:
        file: The parquet file.
        chunk: One column in one row group.
        as_dictionary: Whether texts are read as numbers of distinct ones, so that equal ones take memory once.

    Raises:
        Malformed: pages contradict the chunk, or one unpacks to more than its values can need.
    """
    num_bytes = largest = 0
    longest = 4  # of a dictionary's texts; as a dictionary they are numbers
    for page in read_pages(file, chunk):
        _check_page(page, chunk)
        largest = max(largest, page.num_bytes)
        if page.kind == DICTIONARY and chunk.leaf.width is None and not as_dictionary:
            longest = _longest_text(file, chunk, page)
        num_bytes += _page_bytes(page, chunk, longest)
    return num_bytes + largest


def _longest_text(file: BinaryIO, chunk: Chunk, page: Page) -> int:
    """Bytes of the longest text of a dictionary page: each is its length in four bytes, and itself."""
    if chunk.codec not in CODECS:
        return page.num_bytes
    file.seek(page.start)
    stored = file.read(page.num_stored)
    codec = CODECS[chunk.codec]
    content = stored if codec is None else pa.decompress(stored, page.num_bytes, codec, asbytes=True)
    longest = place = 0
    for _ in range(page.num_values):
        length = int.from_bytes(content[place : place + 4], "little")
        longest, place = max(longest, length), place + 4 + length
        if place > len(content):
            raise Malformed("a dictionary's texts go on after its end")
    return longest


def read_pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """The headers of a chunk's pages, as many as hold its values.

    Raises:
        Malformed: one is no header, or claims bytes beyond the chunk.
    """
    place, num_left = chunk.start, chunk.num_values
    while num_left > 0 and place < chunk.stop:
        page = _read_page(file, place, chunk.stop)
        if page.kind in (DATA, DATA_V2):
            num_left -= page.num_values
        yield page
        place = page.start + page.num_stored
    if num_left:
        raise Malformed(f"pages hold {chunk.num_values - num_left} values, the column claims {chunk.num_values}")


def _read_page(file: BinaryIO, place: int, stop: int) -> Page:
    num_bytes = FIRST_BYTES
    while True:
        file.seek(place)
        content = file.read(min(num_bytes, stop - place))
        try:
            return _parse(content, place, stop)
        except Malformed:
            if num_bytes >= min(MAX_HEADER_BYTES, stop - place):
                raise
        num_bytes *= 16


def _parse(content: bytes, place: int, stop: int) -> Page:
    reader = CompactReader(content)
    found: dict[int, int] = {}
    details: dict[int, tuple[int, int]] = {}
    for number, kind in read_fields_once(reader):
        if number in (1, 2, 3) and kind == I32:
            found[number] = read_bounded(reader, kind, I32, MAX_INT32)
        elif number in DETAILS and kind == STRUCT:
            details[DETAILS[number]] = _read_details(reader, DETAILS[number])
        else:
            reader.skip(kind)
    if len(found) < 3:
        raise Malformed("a page's header lacks its kind or its sizes")
    kind, num_bytes, num_stored = found[1], found[2], found[3]
    num_values, encoding = details.get(kind, (0, 0))
    start = place + reader.position
    if num_stored > stop - start or (kind != INDEX and kind not in details):
        raise Malformed(f"a page at byte {place} claims {num_stored} bytes, {max(stop - start, 0)} are left")
    return Page(kind, num_bytes, num_stored, num_values, encoding, start)


def _read_details(reader: CompactReader, page_kind: int) -> tuple[int, int]:
    """Number and encoding of a page's values."""
    found = {1: -1, ENCODING[page_kind]: -1}
    for number, kind in read_fields_once(reader):
        if number in found and kind == I32:
            found[number] = read_bounded(reader, kind, I32, MAX_INT32)
        else:
            reader.skip(kind)
    if min(found.values()) < 0:
        raise Malformed("a page does not say how many values it holds, or how")
    return found[1], found[ENCODING[page_kind]]


def _check_page(page: Page, chunk: Chunk) -> None:
    width = chunk.leaf.width
    if width is not None:
        limit = page.num_values * (width + LEVEL_BYTES) + SLACK_BYTES
    else:
        limit = max(PAGE_BYTES, PAGE_RATIO * page.num_stored) + page.num_values * LEVEL_BYTES
        if len(chunk.leaf.path) > 1 and chunk.leaf.path[-1] == PICTURE:
            limit = max(limit, min(page.num_values * PICTURE_BYTES, PICTURES_BYTES))
    if page.num_bytes > limit:
        raise Malformed(f"a page of {page.num_stored} bytes claims to unpack to {page.num_bytes}, at most {limit} fit")


def _page_bytes(page: Page, chunk: Chunk, longest: int) -> int:
    """Memory that a page's values take; longest: bytes of a text of the dictionary."""
    if chunk.leaf.width is not None:
        return page.num_values * chunk.leaf.width
    if page.kind != DICTIONARY and page.encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY):
        return page.num_values * longest
    if page.encoding == DELTA_BYTE_ARRAY:  # each text may repeat all of the one before
        return page.num_values * page.num_bytes
    return page.num_bytes
