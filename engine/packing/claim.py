"""Claim the folder of a LeRobot v3.0 dataset."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, Remedy, Setting
from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.dataset.record import hash_file
from millrace.engine.errors import OutputExists
from millrace.engine.layout import LEDGER, MANIFEST, META, PACKED, PREVIEW, REPORT, WORK
from millrace.engine.output.folder import unfinished_files
from millrace.engine.packing.joins import JOINED
from millrace.engine.packing.shared_files import MB, FileSizes

PACKED_FROM = f"{WORK}/packed_from.json"


class PackOrigin(FrozenModel):
    """OUT/.millrace/packed_from.json: what a dataset was packed from.

    manifest: digest of the files. run: digest of the settings that these were made with. depth: of the depth clips.
    sizes: of the files that were made.
    """

    manifest: str
    run: str
    depth: str | None = None
    sizes: FileSizes = FileSizes()

    @classmethod
    def of(cls, root: Path, sizes: FileSizes = FileSizes(), depth: str | None = None) -> "PackOrigin":
        """The origin that a finished dataset of Millrace will be, with a digest of its depth clips."""
        with (root / LEDGER).open("rb") as ledger:
            run = hashlib.sha256(ledger.readline()).hexdigest()
        return cls(manifest=hash_file(root / MANIFEST), run=run, depth=depth, sizes=sizes)

    @classmethod
    def read(cls, out: Path) -> "PackOrigin | None":
        """What a packed dataset was made from; None where nothing says so."""
        try:
            return cls.model_validate_json((out / PACKED_FROM).read_bytes())
        except (OSError, ValidationError):
            return None


def check_parts(root: Path, out: Path, origin: PackOrigin) -> None:
    """Check that the episodes of a dataset are still there, which are deleted where only v3.0 stays.

    Raises:
        OutputExists: they were deleted once `out` was made of them, so that no other can be made.
    """
    if (root / PACKED).is_file():
        why = _difference(PackOrigin.read(out), origin)
        advice = Remedy("keep it, choose another folder, or pass ", Setting("overwrite", True), " to convert again")
        raise OutputExists(f"{out} {why}, and the episodes that it was made of are deleted; ", advice, file=out)


def _difference(before: PackOrigin | None, origin: PackOrigin) -> str:
    """How a dataset is another than the one that is asked for, in words that follow its folder's name."""
    if before is None or before == origin:
        return "lacks files of meta/"
    if before.sizes != origin.sizes:
        sizes = before.sizes
        return f"was made with files of {sizes.data / MB:g} MB of rows and {sizes.video / MB:g} MB of video"
    if before.depth != origin.depth:
        return "is finished, but depth videos of its sources were changed since"
    return "was made of other episodes"


@contextmanager
def claim_folder(out: Path, origin: PackOrigin, *, overwrite: bool) -> Iterator[Path]:
    """Lock a folder that is empty, or that an earlier run packed into; its meta/, preview and report are deleted.

    Yields:
        A folder of this run alone, for unfinished files.

    Raises:
        OutputExists: it holds a dataset of other settings, or files of others.
        OutputBusy: another run writes to it.
    """
    before = PackOrigin.read(out)
    check_folder(out, overwrite=overwrite or (before is not None and before.run == origin.run))
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with lock_folder(out, out / WORK / "lock"), unfinished_files(out) as scratch:
        (out / WORK / ".gitignore").write_text("*\n")
        _remove_metadata(out)
        for name in (PREVIEW, REPORT):
            (out / name).unlink(missing_ok=True)
        yield scratch


def check_folder(out: Path, *, overwrite: bool) -> None:
    """Check that a folder may be packed into; nothing is changed.

    Raises:
        OutputExists: see `claim_folder`.
    """
    found = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    if found not in ([], [WORK]) and not (out / JOINED).is_file():
        problem = f"{out} holds {', '.join(found[:5])}, and is no LeRobot v3.0 dataset that Millrace made; "
        raise OutputExists(problem, Remedy("choose another folder"), file=out, got=found[:5])
    if META in found and not overwrite:
        advice = Remedy("choose another folder, or pass ", Setting("overwrite", True), " to replace it")
        raise OutputExists(f"{out} holds a finished dataset of other settings; ", advice, file=out)


def _remove_metadata(out: Path) -> None:
    for path in sorted((out / META).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if (out / META).is_dir():
        (out / META).rmdir()
