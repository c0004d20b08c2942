"""Read frames of an HDF5 dataset chunk by chunk, each within its declared size.

HDF5's own gzip filter grows its buffer for as long as a stream goes on, so that a chunk of a kilobyte may fill the
memory; and it reads zeros where a recording never wrote. Neither is taken here.
"""

import zlib
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Remedy
from millrace.engine.errors import FaultCode
from millrace.engine.sources.hdf5.hdf5_file import Hdf5Problem

if TYPE_CHECKING:
    import h5py

# Of the HDF5 library; others are read by the library itself.
DEFLATE, SHUFFLE, CHECKSUM, NBIT, SCALE_OFFSET, LZF = 1, 2, 3, 5, 6, 32000
MAX_CHUNK_BYTES = 256 << 20
# Of one read; a frame of a camera is far smaller.
MAX_READ_BYTES = 1 << 30
MAX_CHUNKS = 1 << 20  # of one read
# What the library may make of a stored chunk, as a multiple of its size: zlib's largest ratio, which is taken for
# filters that are not known, too, and that of LZF, whose references of 3 bytes stand for 264 at most. The others make
# no more than the chunk's declared size.
MAX_RATIO = 1032
RATIOS = {SHUFFLE: 1, CHECKSUM: 1, NBIT: 1, SCALE_OFFSET: 1, LZF: 88}

REPACK = Remedy("rewrite the file with `h5repack -f GZIP=4 IN.hdf5 OUT.hdf5`")


def read_frames(dataset: "h5py.Dataset", start: int, stop: int) -> NDArray[Any]:
    """Frames [start, stop) of a dataset whose first axis is time.

    Args:
        dataset: Numbers, in the file itself.
        start: The first frame, at most `stop`.
        stop: After the last, at most the dataset's length.

    Returns:
        (stop - start, ...) in the dataset's own type.

    Raises:
        Hdf5Problem: frames were never written, or are larger than their bounds.
    """
    num_bytes = (stop - start) * prod(dataset.shape[1:]) * dataset.dtype.itemsize
    _check_size(dataset, num_bytes, MAX_READ_BYTES, "read")
    if dataset.chunks is None:
        if num_bytes and not dataset.id.get_storage_size():
            raise _never_written(dataset, start, stop)
        return np.asarray(dataset[start:stop])
    frames = np.empty((stop - start, *dataset.shape[1:]), dataset.dtype)
    for first in _chunks(dataset, start, stop):
        ends = [min(begin + size, end) for begin, size, end in zip(first, dataset.chunks, dataset.shape, strict=True)]
        place = (slice(max(first[0], start), min(ends[0], stop)), *map(slice, first[1:], ends[1:]))
        values = _read_chunk(dataset, first, place)
        frames[(slice(place[0].start - start, place[0].stop - start), *place[1:])] = values
    return frames


def read_heap_rows(dataset: "h5py.Dataset", start: int, stop: int) -> NDArray[Any]:
    """Rows [start, stop) of any length each; they lie in a heap, which only the library reads.

    Args:
        dataset: Of one axis.
        start: The first row, less than `stop`.
        stop: After the last, at most the dataset's length.

    Returns:
        (stop - start,) of texts or arrays.

    Raises:
        Hdf5Problem: rows were never written, or lie in chunks larger than their bounds.
    """
    if dataset.chunks is not None:
        for first in _chunks(dataset, start, stop):
            _check_chunk(dataset, first, stop)
    elif not dataset.id.get_storage_size():
        raise _never_written(dataset, start, stop)
    return np.asarray(dataset[start:stop])


def _chunks(dataset: "h5py.Dataset", start: int, stop: int) -> Iterator[tuple[int, ...]]:
    """The first element of each chunk that holds some of frames [start, stop)."""
    sizes = dataset.chunks
    _check_size(dataset, prod(sizes) * dataset.dtype.itemsize, MAX_CHUNK_BYTES, "chunk")
    ranges = [range(start - start % sizes[0], stop, sizes[0])]
    ranges += [range(0, end, size) for end, size in zip(dataset.shape[1:], sizes[1:], strict=True)]
    if (number := prod(map(len, ranges))) > MAX_CHUNKS:
        message = f"'{dataset.name}' lies in {number} chunks, at most {MAX_CHUNKS} are read at once; "
        advice = Remedy("rewrite the file with `h5repack -l CONTI IN.hdf5 OUT.hdf5`")
        raise Hdf5Problem(message, advice, code=FaultCode.TOO_LARGE, got=number, expected=MAX_CHUNKS)
    return product(*ranges)


def _read_chunk(dataset: "h5py.Dataset", first: tuple[int, ...], place: tuple[slice, ...]) -> NDArray[Any]:
    """The values of a chunk that lie at a place of the dataset."""
    filters = _filters(dataset)
    if not {code for code, *_ in filters} <= {DEFLATE, SHUFFLE}:
        _check_chunk(dataset, first, place[0].stop)
        return np.asarray(dataset[place])
    stored = _stored_size(dataset, first, place[0].stop)
    num_bytes = prod(dataset.chunks) * dataset.dtype.itemsize
    _check_size(dataset, stored, num_bytes + num_bytes // 100 + 1024, "stored chunk")
    skipped, content = dataset.id.read_direct_chunk(first)
    for number in reversed(range(len(filters))):
        if not skipped >> number & 1:
            code, _, values, _ = filters[number]
            content = _inflate(dataset, content, num_bytes) if code == DEFLATE else _unshuffle(content, values[0])
    if len(content) != num_bytes:
        raise _corrupt(dataset, f"a chunk of {len(content)} bytes, expected {num_bytes}")
    whole = np.frombuffer(content, dataset.dtype).reshape(dataset.chunks)
    return whole[tuple(slice(part.start - begin, part.stop - begin) for part, begin in zip(place, first, strict=True))]


def _inflate(dataset: "h5py.Dataset", content: bytes, num_bytes: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        values = inflater.decompress(content, num_bytes + 1)
    except zlib.error as error:
        raise _corrupt(dataset, str(error)) from error
    if not inflater.eof:
        raise _corrupt(dataset, f"a gzip stream that does not end after {num_bytes} bytes")
    return values


def _unshuffle(content: bytes, size: int) -> bytes:
    """Undo HDF5's shuffle filter, which stores the first bytes of all values, then the second ones."""
    if size < 2:
        return content
    whole = len(content) // size * size
    values = np.frombuffer(content, np.uint8, whole).reshape(size, -1)
    return values.T.tobytes() + content[whole:]


def _filters(dataset: "h5py.Dataset") -> list[Any]:
    created = dataset.id.get_create_plist()
    return [created.get_filter(number) for number in range(created.get_nfilters())]


def _stored_size(dataset: "h5py.Dataset", first: tuple[int, ...], stop: int) -> int:
    """The bytes of a chunk in the file; stop: after the last frame that is read of it."""
    stored = dataset.id.get_chunk_info_by_coord(first)
    if stored.byte_offset is None:
        raise _never_written(dataset, first[0], stop)
    return int(stored.size)


def _check_chunk(dataset: "h5py.Dataset", first: tuple[int, ...], stop: int) -> None:
    """Check a chunk that the library itself decompresses, whatever a damaged one holds."""
    size, filters = _stored_size(dataset, first, stop), _filters(dataset)
    _check_filters(dataset, filters)
    ratio = prod(RATIOS.get(code, MAX_RATIO) for code, *_ in filters)
    if size * ratio > MAX_READ_BYTES:
        message = (
            f"a chunk of '{dataset.name}' is stored in {size} bytes; uncompressed it takes up to {size * ratio} bytes "
            f"({ratio} times as many), at most {MAX_READ_BYTES} are read; "
        )
        raise Hdf5Problem(message, REPACK, code=FaultCode.TOO_LARGE, got=size * ratio, expected=MAX_READ_BYTES)


def _check_filters(dataset: "h5py.Dataset", filters: list[Any]) -> None:
    import h5py

    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            called = name.decode("utf-8", "replace") or code
            message = f"'{dataset.name}' is compressed with '{called}', which is not installed; "
            raise Hdf5Problem(message, REPACK, code=FaultCode.CORRUPT, got=code)


def _check_size(dataset: "h5py.Dataset", num_bytes: int, limit: int, what: str) -> None:
    if num_bytes > limit:
        message = f"a {what} of '{dataset.name}' takes {num_bytes} bytes, at most {limit} are read; "
        raise Hdf5Problem(message, REPACK, code=FaultCode.TOO_LARGE, got=num_bytes, expected=limit)


def _never_written(dataset: "h5py.Dataset", start: int, stop: int) -> Hdf5Problem:
    message = f"frames [{start}, {stop}) of '{dataset.name}' were never written: the recording ended before"
    return Hdf5Problem(message, code=FaultCode.TRUNCATED, got=start, expected=len(dataset))


def _corrupt(dataset: "h5py.Dataset", reason: str) -> Hdf5Problem:
    return Hdf5Problem(f"'{dataset.name}' is corrupt ({reason})", code=FaultCode.CORRUPT)
