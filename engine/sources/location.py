"""Where a source dataset lies that a recipe or a command names: a folder, or a repository on the Hub."""

import re
from dataclasses import dataclass
from pathlib import Path

HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^\s@]+))?", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """org/name[@revision]: a dataset of the Hub; revision None: its default branch."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def parse_hub_id(name: str | Path) -> HubId | None:
    """A name as a Hub id; None where it cannot be one."""
    found = HUB_ID.fullmatch(str(name))
    return None if found is None else HubId(found["repo"], found["revision"])


def locate(name: str, folder: Path = Path()) -> Path:
    """What `name` means, seen from `folder`: a folder, or else a Hub id as it is; `open_source` opens it."""
    path = folder / Path(name).expanduser()
    return path if path.is_dir() or parse_hub_id(name) is None else Path(name)


def pinned(path: Path, revision: str | None) -> Path:
    """A source's path with the revision that was found there, so that it means the same for ever."""
    hub_id = parse_hub_id(path)
    return path if hub_id is None or revision is None else Path(f"{hub_id.repo}@{revision}")


def public_name(path: Path, revision: str | None) -> str:
    """A source's name for others: where a folder lies on somebody's disk is nobody's business."""
    if revision is not None:
        return str(path)
    return (path if path.name not in ("", "..") else path.resolve()).name
