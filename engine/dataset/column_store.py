"""Features of many episodes, laid out by column in a file, of which any process reads one column at a time."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# Values held back before they are written to the file.
BUFFERED_VALUES = 1 << 21


@dataclass(frozen=True)
class _Block:
    """Rows of a feature in the store's file, transposed: (D, n) of the feature's type."""

    offset: int
    width: int
    num_rows: int


class ColumnStore:
    """Episodes' features, transposed block by block in one file, however many columns there are.

    The file needs no name: where /proc is (Linux), other processes find it by its handle while this one lives.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] | None = file
        self._path = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        self._blocks: dict[str, list[_Block]] = {}
        self._types: dict[str, np.dtype[Any]] = {}
        self._held: list[Mapping[str, NDArray[Any]]] = []
        self._num_held = 0
        self._lengths: list[int] = []

    def __getstate__(self) -> dict[str, object]:
        """For another process, which only reads."""
        return {**vars(self), "_file": None, "_lengths": []}

    @property
    def is_shared(self) -> bool:
        """Whether other processes can read it."""
        return self._path.exists()

    @property
    def num_rows(self) -> int:
        """Rows of all episodes, N."""
        return sum(self._lengths)

    def width(self, name: str) -> int:
        """Columns of a feature."""
        return self._blocks[name][0].width

    def append(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Add one episode's features, each (T, D), and of one type in all episodes."""
        self._held.append(rows)
        self._num_held += sum(values.size for values in rows.values())
        self._lengths.append(len(next(iter(rows.values()))))
        if self._num_held >= BUFFERED_VALUES:
            self.flush()

    def flush(self) -> None:
        """Write what is still buffered, before anything is read."""
        assert self._file is not None, "another process only reads"
        for name in self._held[0] if self._held else ():
            block = np.concatenate([rows[name] for rows in self._held]).T
            assert self._types.setdefault(name, block.dtype) == block.dtype, "a feature has one type"
            self._blocks.setdefault(name, []).append(_Block(self._file.tell(), *block.shape))
            np.ascontiguousarray(block).tofile(self._file)
            # Where a disk is full, tofile may say nothing about its last bytes.
            if os.fstat(self._file.fileno()).st_size < self._file.tell():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._held, self._num_held = [], 0

    def column(self, name: str, number: int) -> NDArray[Any]:
        """One column of a feature over all episodes, (N,)."""
        blocks = self._blocks[name]
        values = np.empty(sum(block.num_rows for block in blocks), dtype=self._types[name])
        if self._file is None:
            with self._path.open("rb") as file:
                _fill(values, blocks, number, file)
        else:
            _fill(values, blocks, number, self._file)
        return values


def _fill(values: NDArray[Any], blocks: list[_Block], number: int, file: IO[bytes]) -> None:
    start = 0
    for block in blocks:
        file.seek(block.offset + number * block.num_rows * values.itemsize)
        values[start : start + block.num_rows] = np.fromfile(file, values.dtype, block.num_rows)
        start += block.num_rows


def column_store_bytes(num_rows: int, num_values: int) -> int:
    """Bytes that the file takes: num_values of float32 a row."""
    return num_rows * num_values * np.dtype(np.float32).itemsize
