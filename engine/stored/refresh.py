"""Bring the folder here that stands for a dataset in an object store up to date with the store."""

import shutil
from pathlib import Path

from millrace.engine.layout import CARD, INFO, LEDGER, MANIFEST, META, MODALITY_CONFIG, PREVIEW, REPORT, WORK
from millrace.engine.stored.mirror import MIRRORED, Mirrored
from millrace.engine.stored.objects import Objects, names_of
from millrace.engine.stored.parallel import fetch_all

# Of a dataset: its files beside data/, videos/ and meta/.
BESIDE = (MANIFEST, CARD, MODALITY_CONFIG, PREVIEW)


def bring_up_to_date(root: Path, objects: Objects) -> None:
    """Have the folder's ledger continue the store's, and hold meta/ where the dataset in the store is finished.

    A ledger that says more than its copy stays, as each of its files is put before its line is written. One that the
    store's does not begin is of a run since which another wrote: it is replaced, and rows of that run are deleted.
    """
    (root / WORK).mkdir(parents=True, exist_ok=True)
    found = Mirrored.find(objects)
    ledger = root / LEDGER
    # After a loss of power the ledger may be shorter than what was noted of it.
    is_short = not ledger.is_file() or ledger.stat().st_size < found.num_bytes
    if is_short or not found.segments or found != Mirrored.read(root):
        _replace_ledger(root, objects, found)
    if objects.head(INFO) is None:
        _remove_metadata(root)
    elif not (root / META).is_dir():
        _fetch_metadata(root, objects)


def _replace_ledger(root: Path, objects: Objects, found: Mirrored) -> None:
    forget_run(root)
    if not found.segments:
        return
    folder = root / WORK / "segments"
    names = [segment.name for segment in found.segments]
    fetch_all(objects, {name: folder / Path(name).name for name in names})
    unfinished = root / f"{LEDGER}.unfinished"
    with unfinished.open("wb") as ledger:
        for name in names:
            ledger.write((folder / Path(name).name).read_bytes())
    shutil.rmtree(folder)
    unfinished.replace(root / LEDGER)
    found.write(root)


def forget_run(root: Path) -> None:
    """Delete what a folder has of a run whose ledger is not in the store any more."""
    _remove_metadata(root)
    for name in ("data", "videos"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in (MIRRORED, LEDGER):
        (root / name).unlink(missing_ok=True)


def _remove_metadata(root: Path) -> None:
    shutil.rmtree(root / META, ignore_errors=True)
    for name in (MANIFEST, REPORT):
        (root / name).unlink(missing_ok=True)


def _fetch_metadata(root: Path, objects: Objects) -> None:
    """Fetch what belongs to the dataset beside data/ and videos/; meta/ appears last here too."""
    unfinished = root / WORK / "fetched"
    shutil.rmtree(unfinished, ignore_errors=True)
    beside = [name for name in objects.list_names() if name in BESIDE]
    meta = names_of(objects.list_below(META))
    fetch_all(objects, {name: unfinished / name for name in (*beside, *meta)})
    for name in beside:
        (unfinished / name).replace(root / name)
    (unfinished / META).rename(root / META)
    shutil.rmtree(unfinished)
