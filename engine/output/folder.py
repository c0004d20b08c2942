"""Claim an output folder: check what it holds, lock it, and provide a folder for unfinished files."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset.folder_lock import lock_folder
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.errors import OutputExists
from millrace.engine.layout import (
    CAMERA_LEVELS,
    CAMERA_PREFIX,
    CARD,
    LEDGER,
    LOCK,
    MANIFEST,
    META,
    MODALITY_CONFIG,
    PREVIEW,
    QUARANTINE,
    REPORT,
    WORK,
    EpisodePaths,
)
from millrace.engine.planning import ConversionPlan
from millrace.engine.sources import name_file_in_errors, why_unwritable
from millrace.engine.stored import find_store_address, finished_files
from millrace.engine.stores.address import StoreAddress, is_store_address, parse_store_address

STRAY = "stray-"
LEDGER_COPIES = f"{WORK}/ledger-*.jsonl"  # in an object store
CHOOSE = Remedy("Choose another folder")
EPISODES = ("data/chunk-*/episode_*.parquet", f"videos/chunk-*/{CAMERA_PREFIX}*/episode_*.mp4")
# What a conversion writes, in the order of its deletion: without meta/ a dataset is visibly unfinished.
OF_META = (f"{META}/*.json", f"{META}/*.jsonl", CAMERA_LEVELS, REPORT)
OURS = (
    *OF_META,
    MANIFEST,
    CARD,
    PREVIEW,
    MODALITY_CONFIG,
    LEDGER,
    LEDGER_COPIES,
    QUARANTINE,
    *EPISODES,
)


@contextmanager
def claim_output(out: Path, sources: Sequence[Path], *, overwrite: bool, reopen: bool = False) -> Iterator[Path]:
    """Lock an output folder for this run, empty or as an unfinished run left it.

    Args:
        out: The dataset's folder.
        sources: What it is made of.
        overwrite: Delete what an earlier run made there.
        reopen: Delete meta/ of a finished dataset, which is unfinished then.

    Yields:
        A folder of this run alone, for unfinished files; those of killed runs are removed.

    Raises:
        OutputExists: it holds a finished dataset, files of others, or the source.
        OutputBusy: another run writes to it.
    """
    may_be_finished = overwrite or reopen
    check_output(out, sources, overwrite=may_be_finished)
    try:
        (out / WORK).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise OutputExists(f"{out} ", why_unwritable(out / WORK, error), file=out) from error
    files = finished_files(out)
    with explain_write_errors(out), lock_folder(out, out / LOCK), files.hold():
        with name_file_in_errors(ignored := out / WORK / ".gitignore"):
            ignored.write_text("*\n")  # the ledger names folders of this machine
        check_output(out, sources, overwrite=may_be_finished)
        if may_be_finished:
            files.remove(files.find(OURS if overwrite else OF_META))
            _remove_empty_folders(out)
        with unfinished_files(out) as scratch:
            yield scratch


def check_output(out: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Check that a conversion may write to a folder; nothing is changed.

    Raises:
        OutputExists: see `claim_output`.
    """
    _check_stored_sources(out, sources)
    for source in sources:
        if source.exists() and source.resolve().is_relative_to(out.resolve()):  # else it is on the Hub
            raise OutputExists(f"{out} is, or holds, the source {source}. ", CHOOSE, dataset=str(source), file=out)
        if source.exists() and out.resolve().is_relative_to(source.resolve()):
            problem = f"{out} lies within the source {source}, which must stay as it is. "
            raise OutputExists(problem, CHOOSE, dataset=str(source), file=out)
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file, not a folder", file=out, got="a file", expected="a folder")
    files = finished_files(out)
    found = files.names()
    is_ours = MANIFEST in found or (out / LEDGER).is_file() or found == [WORK]
    if found and not is_ours:
        problem = f"{out} holds {', '.join(found[:5])}, which Millrace did not make. "
        raise OutputExists(problem, CHOOSE, file=out, got=found[:5])
    if (out / META).is_dir() and not overwrite:
        advice = Remedy(CHOOSE, ", or pass ", Setting("overwrite", True), " to replace it")
        raise OutputExists(f"{out} holds a finished dataset. ", advice, file=out)
    of_meta = list(files.find([f"{META}/*"]))
    theirs = sorted(path.name for path in of_meta if not any(path.match(pattern) for pattern in OF_META))
    if theirs:
        problem = f"{out}/{META} holds {', '.join(theirs[:5])}, which Millrace did not make; "
        raise OutputExists(problem, Remedy("move it away"), file=out / META, got=theirs[:5])


def _check_stored_sources(out: Path, sources: Sequence[Path]) -> None:
    """The same where both are in an object store."""
    address = find_store_address(out)
    for source in map(parse_store_address, filter(is_store_address, sources)):
        if address is not None and (_is_below(source, address) or _is_below(address, source)):
            problem = f"{address} is the source {source}, holds it, or lies in it; it must stay as it is. "
            raise OutputExists(problem, CHOOSE, dataset=str(source), got=str(address))


def _is_below(address: StoreAddress, other: StoreAddress) -> bool:
    return f"{address}/".startswith(f"{other}/")


def remove_strays(out: Path, plan: ConversionPlan) -> None:
    """Delete files of episodes that the plan lacks: those that failed, or had higher numbers before."""
    files = finished_files(out)
    files.remove([path for path in files.find(EPISODES) if _is_stray(path, plan)])
    _remove_empty_folders(out)


def _is_stray(path: Path, plan: ConversionPlan) -> bool:
    number = path.stem.removeprefix("episode_")
    if not number.isdecimal():
        return False
    paths = EpisodePaths(int(number), plan.job.chunks_size)
    known = (paths.data, *(paths.video(camera) for camera in plan.cameras))
    return int(number) >= len(plan.episodes) or path not in known


def _remove_empty_folders(out: Path) -> None:
    for folder in ("data", "videos", META):
        for path, _, _ in os.walk(out / folder, topdown=False):
            if not os.listdir(path):
                os.rmdir(path)


@contextmanager
def unfinished_files(out: Path) -> Iterator[Path]:
    """A folder of this run alone for unfinished files; those of killed runs are removed."""
    for killed in (out / WORK).glob("run-*"):
        # Renamed first, so that a worker of a killed run can no longer move files into the dataset.
        killed.rename(killed.with_name(killed.name.replace("run-", STRAY, 1)))
    for stray in (out / WORK).glob(f"{STRAY}*"):
        shutil.rmtree(stray, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=out / WORK))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
