"""Locate a source dataset that a recipe or command names: a folder, or a repository on the Hub."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.errors import DatasetError
from millrace.engine.stores.address import is_store_address, local_path, parse_store_address
from millrace.engine.text import join_names

HUB = "hf://"
# A Path keeps only one of the two slashes.
HUB_ID = re.compile(
    r"(?P<scheme>hf://?)?(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^\s@]+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubId:
    """org/name[@revision]: a dataset of the Hub; revision None: its default branch."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def parse_hub_id(name: str | Path) -> HubId | None:
    """Parse a name as a Hub id, with hf:// or without; None where it is none."""
    found = HUB_ID.fullmatch(str(name))
    return None if found is None else HubId(found["repo"], found["revision"])


def locate_source(name: str, folder: Path = Path()) -> Path:
    """Resolve a name relative to `folder`: a folder, or else an address, which `open_source` opens.

    Without hf:// only a name whose first part is no folder is a Hub id: data/alhoa is a misspelt folder where data/ is.
    """
    if (told := local_path(name)) is not None:
        return told
    if is_store_address(name) and not (folder / name).is_dir():
        return Path(name)
    path, hub_id = folder / Path(name).expanduser(), parse_hub_id(name)
    if hub_id is None or path.is_dir():
        return path
    is_misspelt = not is_hub_address(name) and (folder / hub_id.repo).parent.is_dir()
    return path if is_misspelt else Path(f"{HUB}{hub_id}")


def require_hub_id(path: str | Path) -> HubId:
    """The dataset on the Hub that a path names, where it is no folder.

    Raises:
        DatasetError: none is meant; names the folders that are there.
    """
    hub_id = parse_hub_id(path)
    if Path(path).is_file():
        advice = Remedy("name the dataset's folder, which holds meta/")
        raise DatasetError(f"no dataset at {path}: it is a file; ", advice, file=Path(path))
    near, known = _nearest(Path(path)), tuple(_folders_beside(Path(path)))
    if hub_id is None:
        neither = "there is no such folder, and it is no Hub id (org/name[@revision])"
        raise DatasetError(f"no dataset at {path}: {neither}{near}", got=str(path), known=known)
    if not is_hub_address(path) and Path(hub_id.repo).parent.is_dir():
        why = f"there is no such folder{near}{'' if near.endswith('?') else '.'} "
        advice = Remedy(f"For a dataset on the Hub write {HUB}{hub_id}")
        raise DatasetError(f"no dataset at {path}: {why}", advice, got=str(path), known=known)
    return hub_id


def pin_revision(path: Path, revision: str | None) -> Path:
    """Add the revision that was found to a source's path, so that its meaning never changes."""
    hub_id = parse_hub_id(path)
    return path if hub_id is None or revision is None else Path(f"{hub_id.repo}@{revision}")


def public_name(path: Path, revision: str | None) -> str:
    """A source's name without its place on this machine."""
    if revision is not None:
        return str(parse_hub_id(path) or path)
    if is_store_address(path):
        return str(parse_store_address(path))
    return (path if path.name not in ("", "..") else path.resolve()).name


def is_hub_address(name: str | Path) -> bool:
    """Whether a name begins with hf://."""
    return str(name).startswith("hf:/")


def is_remote_address(name: str | Path) -> bool:
    """Whether a name is an address on the Hub or in a store."""
    return is_hub_address(name) or is_store_address(name)


def _nearest(path: Path) -> str:
    """Folders beside a missing one: the one whose name is nearest, or all."""
    parent, names = path.parent, _folders_beside(path)
    if close := get_close_matches(path.name, names, n=1):
        return f". Did you mean {parent / close[0]}?"
    return f". Folders in {parent}: {join_names(names)}" if names else ""


def _folders_beside(path: Path) -> list[str]:
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
