"""Find the HDF5 files of a folder, whatever else lies there."""

import os
from collections.abc import Iterator
from pathlib import Path

from millrace.engine.sources.xr_folders import RECORDING
from millrace.engine.sources.xr_images import COLORS

SUFFIXES = (".hdf5", ".h5")
# Names that are looked at to tell whether there is such a file at all: a folder may hold millions of images.
MAX_NAMES = 1_000_000


def fits(root: Path) -> bool:
    """Whether a file of this format is among the first MAX_NAMES names below a folder."""
    num_names = 0
    for _, folders, names in _walk(root):
        if any(map(_is_recording, names)):
            return True
        num_names += len(folders) + len(names)
        if num_names > MAX_NAMES:
            return False
    return False


def list_recordings(root: Path) -> Iterator[Path]:
    """HDF5 files below a folder, see `list_linked_folders`; hidden folders are not entered."""
    for folder, _, names in _walk(root):
        yield from (folder / name for name in names if _is_recording(name))


def list_linked_folders(root: Path) -> list[Path]:
    """Links to folders, in which no files are looked for."""
    inner = (folder / name for folder, folders, _ in _walk(root) for name in folders)
    return sorted(path for path in inner if path.is_symlink())


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder with the names of its folders and files; those in a recording of xr_teleoperate are left out."""
    for folder, folders, names in os.walk(root):
        is_recording = RECORDING in names and COLORS in folders
        folders[:] = [] if is_recording else [name for name in folders if not name.startswith(".")]
        yield Path(folder), folders, names


def _is_recording(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
