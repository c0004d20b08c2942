"""A dataset's files lie in its own folder: what leads elsewhere, or is no file, is never opened."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from engine.errors import DatasetError

# The Hub's cache: CACHE/datasets--org--name/snapshots/COMMIT holds links to ../../blobs.
SNAPSHOTS, BLOBS, REPOSITORY_PREFIX = "snapshots", "blobs", "datasets--"


def why_foreign(path: Path, root: Path) -> str | None:
    """Why a path of a dataset must not be opened; None where it may be, or where there is nothing.

    Links are followed to their end. Nothing is opened.
    """
    try:
        real = os.path.realpath(path, strict=True)
        if not _is_below(real, root):
            return f"leads out of the dataset, to {real}"
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except ValueError as error:  # no path at all, by its characters
        return f"cannot be read ({error})"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is no file but a device or a pipe"


def own(path: Path, root: Path) -> Path:
    """The path itself, where it may be opened.

    Raises:
        DatasetError: it leads out of the dataset, or is no file.
    """
    if reason := why_foreign(path, root):
        raise DatasetError(f"{path} {reason}")
    return path


def all_own(paths: Iterable[Path], root: Path) -> list[Path]:
    """Likewise of many."""
    return [own(path, root) for path in paths]


def _is_below(real: str, root: Path) -> bool:
    home = os.path.realpath(root)
    if _is_in(real, home):
        return True
    snapshots, repository = os.path.dirname(home), os.path.dirname(os.path.dirname(home))
    is_cache = os.path.basename(snapshots) == SNAPSHOTS and os.path.basename(repository).startswith(REPOSITORY_PREFIX)
    return is_cache and _is_in(real, os.path.join(repository, BLOBS))


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")
