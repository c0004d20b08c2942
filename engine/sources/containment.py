"""Keep reads within a dataset's own folder: paths that lead elsewhere, or to no file, are never opened."""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from millrace.embodiments import Message, Remedy, Setting
from millrace.engine.errors import DatasetError, FaultCode, system_errno
from millrace.engine.sources.access import UNREADABLE, why_unreadable

# The Hub's cache: CACHE/datasets--org--name/snapshots/COMMIT holds links to ../../blobs.
SNAPSHOTS, BLOBS, REPOSITORY_PREFIX = "snapshots", "blobs", "datasets--"
# In place of a dataset's folder: its links may lead anywhere on this machine.
ANYWHERE = Path("/")
LEADS_OUT = "leads out of the dataset"
HUB_LINKS, TRUST = "links of a dataset from the Hub are not followed", "if you trust its links: "
# Folders of a download or clone, whose links others may have made.
OF_DOWNLOADS = (".git", ".cache/huggingface")


class Barrier(Enum):
    """What keeps a path from being opened."""

    OUTSIDE = "it leads out of the dataset"
    NO_FILE = "nothing that can be read has such a path, or it is a device"
    HIDDEN = "disk, network or permissions hide it"


@dataclass(frozen=True)
class Refusal:
    """Why a path must not be opened: the barrier, and the reason as words after the path."""

    barrier: Barrier
    reason: str

    def __str__(self) -> str:
        return self.reason

    @property
    def code(self) -> FaultCode:
        """The error code of an episode with this file."""
        return FaultCode.UNREADABLE if self.barrier is Barrier.HIDDEN else FaultCode.FOREIGN


def why_foreign(path: Path, root: Path) -> Refusal | None:
    """Why a path of a dataset must not be opened; None where it may be, or where there is nothing.

    Links are followed to their end. Nothing is opened.
    """
    try:
        real = os.path.realpath(path, strict=True)
        if not _is_below(real, root):
            return Refusal(Barrier.OUTSIDE, f"{LEADS_OUT}, to {real}")
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _refused_by_system(path, error)
    except ValueError as error:  # no path at all, by its characters
        return Refusal(Barrier.NO_FILE, f"{UNREADABLE} ({error})")
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return Refusal(Barrier.NO_FILE, "is no file but a device or a pipe")


def hide_targets(text: str) -> str:
    """A line of text without the place that a link out of a dataset leads to."""
    return re.sub(rf"({LEADS_OUT}), to /.*?(?=$|; {HUB_LINKS}|; {TRUST})", r"\1", text)


def _refused_by_system(path: Path, error: OSError) -> Refusal:
    """The refusal for an error of the system; circular links are the dataset's fault."""
    barrier = Barrier.NO_FILE if system_errno(error) is None else Barrier.HIDDEN
    return Refusal(barrier, why_unreadable(path, error))


def why_refused(path: Path, root: Path) -> Refusal | None:
    """Why a path of a source must not be opened, and what to do; None where it may be, or where there is nothing.

    Beside what lies in the dataset's folder, links are followed that are the user's own: the folder, the links and
    what they lead to have one owner and the files have the same suffix, and nothing says that the folder was
    downloaded. A folder of the Hub's cache may only lead to the blobs beside it.

    Args:
        path: Of a file or folder.
        root: The dataset's folder, or ANYWHERE.
    """
    refusal = why_foreign(path, root)
    if refusal is None or refusal.barrier is not Barrier.OUTSIDE:
        return refusal
    if is_in_hub_cache(os.path.realpath(root)):
        return replace(refusal, reason=f"{refusal}; {HUB_LINKS}")
    try:
        is_own = _is_users_own(path, root)
    except OSError as error:
        return _refused_by_system(path, error)
    if is_own:
        return why_foreign(path, ANYWHERE)
    advice = Remedy(TRUST, Setting("follow_links", True))
    return replace(refusal, reason=Message(str(refusal), "; ", advice))


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


def check_own_path(path: Path, root: Path) -> Path:
    """Return a path that may be opened.

    Raises:
        DatasetError: it leads out of the dataset and its links are not followed, or it is no file.
    """
    if refusal := why_refused(path, root):
        raise DatasetError(f"{path} ", refusal.reason, file=path)
    return path


def check_own_paths(paths: Iterable[Path], root: Path) -> list[Path]:
    """Check several paths, see `check_own_path`."""
    return [check_own_path(path, root) for path in paths]


def _is_below(real: str, root: Path) -> bool:
    home = os.path.realpath(root)
    if _is_in(real, home):
        return True
    return is_in_hub_cache(home) and _is_in(real, os.path.join(os.path.dirname(os.path.dirname(home)), BLOBS))


def is_in_hub_cache(root: str | Path) -> bool:
    """Whether a folder is a commit's folder in the Hub's cache."""
    home = os.path.realpath(root)
    snapshots, repository = os.path.dirname(home), os.path.dirname(os.path.dirname(home))
    return os.path.basename(snapshots) == SNAPSHOTS and os.path.basename(repository).startswith(REPOSITORY_PREFIX)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")
