"""Claim the folder of a LeRobot v3.0 dataset."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.errors import OutputExists
from millrace.engine.layout import META, WORK
from millrace.engine.output.folder import unfinished_files
from millrace.engine.packing.joins import JOINED

PACKED_FROM = f"{WORK}/packed_from"


def packed_from(out: Path) -> str | None:
    """The digest of the manifest of what a folder was packed from; None where it was not."""
    try:
        head = json.loads((out / PACKED_FROM).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return head if isinstance(head, str) else None


@contextmanager
def claim_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lock a folder that is empty, or that an earlier run packed into.

    Yields:
        A folder of this run alone, for unfinished files.

    Raises:
        OutputExists: it holds a finished dataset, or files of others.
        OutputBusy: another run writes to it.
    """
    found = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    is_ours = (out / JOINED).is_file() or found in ([], [WORK])
    if not is_ours or (META in found and not overwrite):
        what = "a finished dataset" if META in found else ", ".join(found[:5])
        advice = Remedy("choose another folder, or pass ", Setting("overwrite", True), " to replace it")
        raise OutputExists(f"{out} holds {what}; ", advice if is_ours else Remedy("choose another folder"), file=out)
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with lock_folder(out, out / WORK / "lock"), unfinished_files(out) as scratch:
        (out / WORK / ".gitignore").write_text("*\n")
        _remove_metadata(out)
        yield scratch


def _remove_metadata(out: Path) -> None:
    for path in sorted((out / META).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if (out / META).is_dir():
        (out / META).rmdir()
