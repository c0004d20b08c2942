"""A view of a dataset: a folder with meta/ as a release of GR00T wants it for one embodiment tag, else links.

GR00T keeps one set of relative statistics in a dataset, rewrites them in every run, and computes them again where they
are of another tag or action chunk. In a view all of that stays in a folder of its own.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from millrace.embodiments import FrozenModel, Remedy, Setting
from millrace.engine.dataset.metadata import EPISODES, INFO, MODALITY, RELATIVE_STATS, STATS, TASKS
from millrace.engine.dataset.view_statistics import JsonStatistics, Purpose, StatisticsPlan, plan_statistics
from millrace.engine.dataset.writing import explain_write_errors, sync_folder
from millrace.engine.errors import OutputExists, OutputFailed
from millrace.engine.layout import META

VIEW = "millrace_view.json"
# Read by GR00T and small; all else of a dataset is linked.
COPIED = (INFO, EPISODES, TASKS, MODALITY)
CHOOSE = Remedy("choose another folder")


class ViewRecord(FrozenModel):
    """millrace_view.json: of what a folder is a view. digest: of all that its content depends on."""

    dataset: str
    embodiment_tag: str
    has_fingerprints: bool
    digest: str


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """What a view of a dataset will hold; see `StatisticsPlan` for its statistics."""

    dataset: Path
    statistics: StatisticsPlan

    @classmethod
    def of(cls, dataset: Path, purpose: Purpose) -> "ViewPlan":
        """Plan from meta/ alone.

        Raises:
            DatasetError: see `plan_statistics`.
        """
        return cls(Path(os.path.abspath(dataset)), plan_statistics(dataset, purpose))

    @cached_property
    def record(self) -> ViewRecord:
        """The dataset that is viewed, in its present state, and for what."""
        purpose, meta = self.statistics.purpose, self.dataset / META
        names = (*COPIED, STATS, RELATIVE_STATS)
        contents = {name: _hash(self.dataset / name) for name in names if (self.dataset / name).is_file()}
        facts = (contents, self.statistics.due, self.statistics.computed, self.statistics.row_facts)
        links = [str(path) for path in (*_linked(self.dataset), *_linked(meta))]
        told = json.dumps([str(self.dataset), purpose.tag, purpose.has_fingerprints, links, facts], sort_keys=True)
        return ViewRecord(
            dataset=str(self.dataset),
            embodiment_tag=purpose.tag,
            has_fingerprints=purpose.has_fingerprints,
            digest=hashlib.sha256(told.encode()).hexdigest(),
        )

    def write(self, out: Path, *, overwrite: bool = False, scratch: Path | None = None) -> bool:
        """Make the view, which appears as a whole; False where the folder is this very view already.

        Args:
            out: A folder that does not exist, is empty, or holds a view.
            overwrite: Replace another view.
            scratch: A folder for temporary files; None for the system's.

        Raises:
            OutputExists: the folder holds anything else, or lies in the dataset.
            OutputFailed: it cannot be written to.
            RowsError: rows that statistics are computed from cannot be read.
        """
        _check_apart(self.dataset, out)
        record = self.record
        if not _must_write(record, out, overwrite=overwrite):
            return False
        made = out.with_name(f".{out.name}.{uuid4().hex}")
        with explain_write_errors(out.parent):
            made.mkdir(parents=True)
            try:
                self._fill(made, record, *self.statistics.make(scratch))
                _move(made, out, overwrite=overwrite)
            except OSError:
                if not _must_write(record, out, overwrite=overwrite):  # another process made it meanwhile
                    return False
                raise
            finally:
                shutil.rmtree(made, ignore_errors=True)
        return True

    def _fill(self, folder: Path, record: ViewRecord, stats: JsonStatistics, relative: JsonStatistics) -> None:
        (folder / META).mkdir()
        for name in COPIED:
            shutil.copyfile(self.dataset / name, folder / name)
        for place in (Path(), Path(META)):
            for path in _linked(self.dataset / place):
                _link(folder / place / path.name, path)
        # As GR00T writes it, which does so in every run: its bytes stay the same.
        texts = {STATS: json.dumps(stats, indent=4), RELATIVE_STATS: json.dumps(relative, indent=4)}
        for name, text in {**texts, VIEW: record.model_dump_json(indent=2) + "\n"}.items():
            (folder / name).write_text(text, encoding="utf-8")
        _sync(folder)


def read_view(folder: Path) -> ViewRecord | None:
    """The record of a folder that is a view; None where it is none."""
    try:
        return ViewRecord.model_validate_json((folder / VIEW).read_bytes())
    except (OSError, ValidationError):
        return None


def _linked(folder: Path) -> Iterator[Path]:
    """What a view links of a dataset's folder or of its meta/: all but what it has itself, and hidden files."""
    own = {META, VIEW, *(Path(name).name for name in (*COPIED, STATS, RELATIVE_STATS))}
    return (path for path in sorted(folder.iterdir()) if path.name not in own and not path.name.startswith("."))


def _link(link: Path, path: Path) -> None:
    try:
        link.symlink_to(path)
    except OSError as error:
        problem = f"{link.parent} cannot hold links to files ({error.strerror}); "
        raise OutputFailed(problem, Remedy("choose a folder on a disk that can"), file=link) from error


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_apart(dataset: Path, out: Path) -> None:
    inner, outer = out.resolve(), dataset.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        problem = f"{out} and the dataset {dataset}, to which nothing is written, lie within each other; "
        raise OutputExists(problem, CHOOSE, dataset=str(dataset), file=out)


def _must_write(record: ViewRecord, out: Path, *, overwrite: bool) -> bool:
    """Whether the folder is to be written, rather than being this very view already.

    Raises:
        OutputExists: it holds something else.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return True
    there = read_view(out)
    if there is None:
        raise OutputExists(f"{out} holds something else than a view; ", CHOOSE, file=out)
    if there == record:
        return False
    if not overwrite:
        advice = Remedy(CHOOSE, ", or pass ", Setting("overwrite", True), " to replace it")
        which = "with" if there.has_fingerprints else "without"
        what = f"is a view of {there.dataset} for {there.embodiment_tag}, {which} fingerprints"
        other = ", made when the dataset or the modality config was another" if _is_alike(there, record) else ""
        raise OutputExists(f"{out} {what}{other}; ", advice, file=out)
    return True


def _is_alike(one: ViewRecord, other: ViewRecord) -> bool:
    return one.model_copy(update={"digest": other.digest}) == other


def _move(made: Path, out: Path, *, overwrite: bool) -> None:
    """Move a whole view to its place; with overwrite, what is there moves away first.

    Raises:
        OSError: something is there by now.
    """
    old = made.with_name(f"{made.name}.old")
    if overwrite and os.path.lexists(out):
        out.rename(old)
    try:
        made.rename(out)  # also onto an empty folder
    finally:
        shutil.rmtree(old, ignore_errors=True)  # links in it are removed, not followed
    sync_folder(out.parent)


def _sync(folder: Path) -> None:
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in (folder / META, folder):
        sync_folder(path)
