"""A dataset's files lie in its own folder: what leads elsewhere, or is no file, is never opened."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from engine.access import UNREADABLE, why_unreadable
from engine.errors import DatasetError
from engine.faults import FaultCode, system_errno

# The Hub's cache: CACHE/datasets--org--name/snapshots/COMMIT holds links to ../../blobs.
SNAPSHOTS, BLOBS, REPOSITORY_PREFIX = "snapshots", "blobs", "datasets--"
OUTSIDE = "leads out of the dataset"
# In place of a dataset's folder: its links may lead anywhere on this machine.
ANYWHERE = Path("/")
# What a download or a clone leaves in a folder whose links somebody else may have made.
OF_DOWNLOADS = (".git", ".cache/huggingface")


def why_foreign(path: Path, root: Path) -> str | None:
    """Why a path of a dataset must not be opened; None where it may be, or where there is nothing.

    Links are followed to their end. Nothing is opened.
    """
    try:
        real = os.path.realpath(path, strict=True)
        if not _is_below(real, root):
            return f"{OUTSIDE}, to {real}"
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return why_unreadable(path, error)
    except ValueError as error:  # no path at all, by its characters
        return f"{UNREADABLE} ({error})"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is no file but a device or a pipe"


def why_refused(path: Path, root: Path) -> str | None:
    """Why a path of a source must not be opened, and what to do; None where it may be, or where there is nothing.

    Beside what lies in the dataset's folder, links are followed that are the user's own: the folder, the links and
    what they lead to have one owner and the files have the same suffix, and nothing says that the folder was
    downloaded. A folder of the Hub's cache may only lead to the blobs beside it.

    Args:
        path: Of a file or folder.
        root: The dataset's folder, or ANYWHERE.
    """
    reason = why_foreign(path, root)
    if reason is None or not reason.startswith(OUTSIDE):
        return reason
    if is_of_hub_cache(os.path.realpath(root)):
        return f"{reason}; links of a dataset from the Hub are not followed"
    try:
        is_own = _is_users_own(path, root)
    except OSError as error:
        return why_unreadable(path, error)
    return why_foreign(path, ANYWHERE) if is_own else f"{reason}; if you trust its links: --follow-links"


def refused_code(path: Path, reason: str) -> FaultCode:
    """Whether a path is refused for where it leads, or because disk, network or permissions hide that.

    Args:
        path: Of a file.
        reason: Why it is refused.
    """
    if not reason.startswith(UNREADABLE):
        return FaultCode.FOREIGN
    try:
        os.stat(path)
    except ValueError:
        return FaultCode.FOREIGN
    except OSError as error:  # such as links in a circle
        return FaultCode.FOREIGN if system_errno(error) is None else FaultCode.UNREADABLE
    return FaultCode.UNREADABLE  # it was hidden for a moment


def _is_users_own(path: Path, root: Path) -> bool:
    """Whether a link and what it leads to have the owner of the dataset's folder, and nobody else may have made it."""
    if any((root / name).exists() for name in OF_DOWNLOADS):
        return False
    real, owner = Path(os.path.realpath(path, strict=True)), os.stat(root).st_uid
    is_alike = real.is_dir() or real.suffix.lower() == path.suffix.lower() or _is_blob(real)
    return is_alike and real.stat().st_uid == owner and all(link.lstat().st_uid == owner for link in _links(path, root))


def _is_blob(path: Path) -> bool:
    """Whether a file lies in the Hub's cache, where files are named by their hashes."""
    return path.parent.name == BLOBS and path.parent.parent.name.startswith(REPOSITORY_PREFIX)


def _links(path: Path, root: Path) -> list[Path]:
    """The links among a path's folders below the root, and the path itself where it is one."""
    folders = [path, *path.parents[: len(path.relative_to(root).parts) - 1]]
    return [folder for folder in folders if folder.is_symlink()]


def own(path: Path, root: Path) -> Path:
    """The path itself, where it may be opened.

    Raises:
        DatasetError: it leads out of the dataset and its links are not followed, or it is no file.
    """
    if reason := why_refused(path, root):
        raise DatasetError(f"{path} {reason}")
    return path


def all_own(paths: Iterable[Path], root: Path) -> list[Path]:
    """Likewise of many."""
    return [own(path, root) for path in paths]


def _is_below(real: str, root: Path) -> bool:
    home = os.path.realpath(root)
    if _is_in(real, home):
        return True
    return is_of_hub_cache(home) and _is_in(real, os.path.join(os.path.dirname(os.path.dirname(home)), BLOBS))


def is_of_hub_cache(root: str | Path) -> bool:
    """Whether a folder is a commit's in the Hub's cache."""
    home = os.path.realpath(root)
    snapshots, repository = os.path.dirname(home), os.path.dirname(os.path.dirname(home))
    return os.path.basename(snapshots) == SNAPSHOTS and os.path.basename(repository).startswith(REPOSITORY_PREFIX)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")
