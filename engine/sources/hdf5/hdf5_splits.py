"""The lists of episodes that an HDF5 file has, such as robomimic's under /mask."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from millrace.engine.errors import FaultCode
from millrace.engine.sources.hdf5.chunk_reader import read_frames, read_heap_rows
from millrace.engine.sources.hdf5.hdf5_episodes import MAX_EPISODES, MAX_KEYS
from millrace.engine.sources.hdf5.hdf5_file import (
    Hdf5Problem,
    find_dataset,
    find_object,
    has_object,
    import_h5py,
    list_names,
)
from millrace.engine.sources.hdf5.hdf5_layout import Hdf5Layout

if TYPE_CHECKING:
    import h5py

# Of all names in a file's lists.
MAX_SPLIT_BYTES = 16 << 20
REFERENCE_BYTES = 16  # to a text of any length


def read_splits(file: "h5py.File", layout: Hdf5Layout) -> dict[str, frozenset[str]]:
    """The groups of the episodes in each list of a file's splits.

    Raises:
        Hdf5Problem: the lists are larger than MAX_SPLIT_BYTES.
    """
    if layout.splits is None or not has_object(file, layout.splits):
        return {}
    parent = layout.episodes.rpartition("/")[0]
    splits, num_bytes = {}, 0
    for name in islice(list_names(find_object(file, layout.splits)), MAX_KEYS):
        dataset = find_dataset(file, f"{layout.splits}/{name}")
        is_text = import_h5py().check_string_dtype(dataset.dtype) is not None
        if len(dataset.shape or ()) != 1 or len(dataset) > MAX_EPISODES or not is_text:
            continue
        members = set()
        for member, size in _read_names(dataset):
            num_bytes += size
            if num_bytes > MAX_SPLIT_BYTES:
                raise _too_large(dataset, num_bytes)
            members.add(f"{parent}/{member}")
        splits[name] = frozenset(members)
    return splits


def _read_names(dataset: "h5py.Dataset") -> Iterator[tuple[str, int]]:
    """Texts of a list, each with the bytes that it takes; those of any length one by one, as all may be long."""
    if not dataset.dtype.hasobject:
        size = dataset.dtype.itemsize
        if len(dataset) * size > MAX_SPLIT_BYTES:
            raise _too_large(dataset, len(dataset) * size)
        yield from ((value.decode("utf-8", "replace"), size) for value in read_frames(dataset, 0, len(dataset)))
        return
    for row in range(len(dataset)):
        value: bytes = read_heap_rows(dataset, row, row + 1)[0]
        yield value.decode("utf-8", "replace"), len(value) + REFERENCE_BYTES


def _too_large(dataset: "h5py.Dataset", num_bytes: int) -> Hdf5Problem:
    message = f"the names in '{dataset.name}' take {num_bytes} bytes or more, at most {MAX_SPLIT_BYTES} are read"
    return Hdf5Problem(message, code=FaultCode.TOO_LARGE, got=num_bytes, expected=MAX_SPLIT_BYTES)
