"""Claim an output folder: check what it holds, lock it, and provide a folder for unfinished files."""

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

STRAY = "stray-"
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
    with explain_write_errors(out), lock_folder(out, out / WORK / "lock"):
        with name_file_in_errors(ignored := out / WORK / ".gitignore"):
            ignored.write_text("*\n")  # the ledger names folders of this machine
        check_output(out, sources, overwrite=may_be_finished)
        if may_be_finished:
            _remove(OURS if overwrite else OF_META, out)
        with unfinished_files(out) as scratch:
            yield scratch


def check_output(out: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Check that a conversion may write to a folder; nothing is changed.

    Raises:
        OutputExists: see `claim_output`.
    """
    for source in sources:
        if source.exists() and source.resolve().is_relative_to(out.resolve()):  # else it is on the Hub
            raise OutputExists(f"{out} is, or holds, the source {source}. ", CHOOSE, dataset=str(source), file=out)
        if source.exists() and out.resolve().is_relative_to(source.resolve()):
            problem = f"{out} lies within the source {source}, which must stay as it is. "
            raise OutputExists(problem, CHOOSE, dataset=str(source), file=out)
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file, not a folder", file=out, got="a file", expected="a folder")
    found = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    is_ours = (out / MANIFEST).is_file() or (out / LEDGER).is_file() or found == [WORK]
    if found and not is_ours:
        problem = f"{out} holds {', '.join(found[:5])}, which Millrace did not make. "
        raise OutputExists(problem, CHOOSE, file=out, got=found[:5])
    if META in found and not overwrite:
        advice = Remedy(CHOOSE, ", or pass ", Setting("overwrite", True), " to replace it")
        raise OutputExists(f"{out} holds a finished dataset. ", advice, file=out)
    ours = {path for pattern in OF_META for path in out.glob(pattern)}
    theirs = [path.name for path in sorted((out / META).glob("*")) if path not in ours]
    if theirs:
        problem = f"{out}/{META} holds {', '.join(theirs[:5])}, which Millrace did not make; "
        raise OutputExists(problem, Remedy("move it away"), file=out / META, got=theirs[:5])


def remove_strays(out: Path, plan: ConversionPlan) -> None:
    """Delete files of episodes that the plan lacks: those that failed, or had higher numbers before."""
    for path in (path for pattern in EPISODES for path in out.glob(pattern)):
        number = path.stem.removeprefix("episode_")
        if number.isdecimal() and not _is_planned(path.relative_to(out), int(number), plan):
            path.unlink()
    _remove_empty_folders(out)


def _is_planned(path: Path, index: int, plan: ConversionPlan) -> bool:
    paths = EpisodePaths(index, plan.job.chunks_size)
    known = (paths.data, *(paths.video(camera) for camera in plan.cameras))
    return index < len(plan.episodes) and path in known


def _remove(patterns: Sequence[str], out: Path) -> None:
    for pattern in patterns:
        for path in out.glob(pattern):
            path.unlink()
    _remove_empty_folders(out)


def _remove_empty_folders(out: Path) -> None:
    for folder in ("data", "videos", META):
        for path in [*sorted((out / folder).rglob("*"), reverse=True), out / folder]:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


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
