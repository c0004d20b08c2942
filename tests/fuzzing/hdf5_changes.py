"""Damage to an HDF5 file by its structure: links, shapes and attributes of a stranger, and bytes of headers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fuzzing.changes import Change

# Superblock, object headers, B-trees and heaps of the first groups lie here.
HEADER_BYTES = 12_000


@dataclass(frozen=True)
class Hdf5Change(Change):
    """A dataset or group, counted round, changed in one of `HDF5_CHANGES`."""

    place: int
    how: str
    value: Any

    def apply(self, root: Path) -> None:
        """Do it; where the library refuses, nothing is done."""
        with h5py.File(root / self.path, "a") as file:
            keys: list[str] = []
            file.visit(keys.append)
            if keys:
                HDF5_CHANGES[self.how](file, keys[self.place % len(keys)], self.value)


@dataclass(frozen=True)
class HeaderChange(Change):
    """A few bytes near the begin of a file."""

    place: int
    content: bytes

    def apply(self, root: Path) -> None:
        """Do it."""
        path = root / self.path
        data = bytearray(path.read_bytes())
        start = self.place * 7 % min(HEADER_BYTES, len(data))
        data[start : start + len(self.content)] = self.content
        path.write_bytes(data[: path.stat().st_size])


def _link(target: Callable[[str], Any]) -> Callable[[h5py.File, str, Any], None]:
    def change(file: h5py.File, key: str, value: Any) -> None:
        del file[key]
        file[key] = target(key)

    return change


def _delete(file: h5py.File, key: str, value: Any) -> None:
    del file[key]


def _loop(file: h5py.File, key: str, value: Any) -> None:
    """A group within itself."""
    del file[key]
    file[key] = file[key.rpartition("/")[0] or "/"]


def _replace(file: h5py.File, key: str, value: Any) -> None:
    del file[key]
    file[key] = value if isinstance(value, float) else np.array([ascii(value).encode()] * 12)


def _declare(file: h5py.File, key: str, value: Any) -> None:
    """A shape of any size of which nothing is written."""
    del file[key]
    size = int(value) % 2**40 if isinstance(value, (int, float)) and value == value and abs(value) < 1e300 else 7
    file.create_dataset(key, (size, 3, 64, 64), "u1", chunks=(1, 3, 64, 64), compression="gzip")


def _map_elsewhere(file: h5py.File, key: str, value: Any) -> None:
    del file[key]
    layout = h5py.VirtualLayout((12, 14), "f8", maxshape=(None, 14))
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (12, 14))
    file.create_virtual_dataset(key, layout)


def _store_elsewhere(file: h5py.File, key: str, value: Any) -> None:
    del file[key]
    file.create_dataset(key, (12, 14), "f8", external=[("/etc/passwd", 0, 12 * 14 * 8)])


def _set_attribute(file: h5py.File, key: str, value: Any) -> None:
    for name in ("env_args", "fps", "compress"):
        file[key].attrs[name] = value if isinstance(value, float) else ascii(value)


HDF5_CHANGES: dict[str, Callable[[h5py.File, str, Any], None]] = {
    "external link": _link(lambda key: h5py.ExternalLink("/etc/passwd", "/x")),
    "circle": _link(lambda key: h5py.SoftLink(f"/{key}")),
    "link up": _link(lambda key: h5py.SoftLink("/")),
    "delete": _delete,
    "loop": _loop,
    "replace": _replace,
    "declare": _declare,
    "virtual": _map_elsewhere,
    "external": _store_elsewhere,
    "attribute": _set_attribute,
}
