"""Find the folders of recorded episodes, in any folders below a dataset's."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from millrace.engine.errors import DatasetError
from millrace.engine.sources.access import why_unreadable
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.natural_order import natural_key
from millrace.engine.sources.xr_images import COLORS

RECORDING = "data.json"
EPISODE = "episode_"
# Folders below a dataset's, and entries that are looked at: a folder may hold anything, the user's home among them.
MAX_DEPTH, MAX_FOLDERS = 8, 5_000_000
# Those looked at to tell whether there is an episode at all.
MAX_TRIED = 20_000
NUMBER = re.compile(r"(\d{1,18})\Z")


def has_recording(root: Path) -> bool:
    """Whether there is an episode in a folder or below it."""
    try:
        folders = find_recordings(root, root, max_folders=MAX_TRIED)
        return any((folder / RECORDING).is_file() and why_refused(folder, root) is None for folder in folders)
    except DatasetError:
        return False


def find_recordings(root: Path, bounds: Path, *, max_folders: int = MAX_FOLDERS) -> Iterator[Path]:
    """Yield each folder of an episode: it holds images, and data.json unless the recorder ended before it wrote that.

    Links to folders are followed where they may be, and no folder is visited twice. Links that are not followed count
    as episodes where they are called so, as whoever opens them says why they are not.

    Args:
        root: The dataset's folder.
        bounds: The folder that everything must lie in.
        max_folders: Folders to look at.

    Raises:
        DatasetError: there are more, or a folder cannot be read.
    """
    seen: set[str] = set()
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        if len(seen) >= max_folders:
            raise DatasetError(f"{root} holds more than {max_folders} folders", file=root, expected=max_folders)
        if folder.is_symlink() and folder != root and why_refused(folder, bounds) is not None:
            if folder.name.startswith(EPISODE):
                yield folder
            continue
        names = _list_folders(folder, seen)
        if COLORS in names and ((folder / RECORDING).is_file() or _has_entries(folder / COLORS)):
            yield folder
        elif depth < MAX_DEPTH:
            waiting += [(folder / name, depth + 1) for name in names if not name.startswith(".")]


def number_recordings(root: Path, folders: Iterable[Path]) -> dict[int, Path]:
    """Episodes by number, in the natural order of their paths.

    The number is that at the end of the folder's name where no two folders have the same, else the place.
    """
    ordered = sorted(folders, key=lambda folder: natural_key(str(folder.relative_to(root))))
    found = [NUMBER.search(folder.name) if folder != root else None for folder in ordered]
    numbers = [int(number[1]) for number in found if number]
    if len(set(numbers)) < len(ordered):
        numbers = list(range(len(ordered)))
    return dict(sorted(zip(numbers, ordered, strict=True)))


def _list_folders(folder: Path, seen: set[str]) -> list[str]:
    """Names of the folders in a folder, sorted; none where it was visited."""
    real = os.path.realpath(folder)
    if real in seen:
        return []
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_folder(entry))
    except OSError as error:
        raise DatasetError(f"{folder} ", why_unreadable(folder, error), file=folder) from error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
