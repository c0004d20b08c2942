"""Full checks of datasets, kept beside the run: what was read then is not read again while no file changes.

A file in data/ or videos/, or of another name, counts as unchanged by its size and time of change; those of meta/,
millrace.json and modality_config.py by their content.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import time_ns

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.engine.about import VERSION
from millrace.engine.dataset.metadata import RELATIVE_STATS, STATS
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.record import hash_file
from millrace.engine.layout import MANIFEST, META, MODALITY_CONFIG
from millrace.train.whole_file import replace_file

RECORD = "checked_datasets.json"
# Read whenever they are looked at, as they are small against data/ and videos/.
READ = (MANIFEST, MODALITY_CONFIG)
# GR00T writes the same values in a layout of its own when it trains (gr00t/data/stats.py).
REWRITTEN = (STATS, RELATIVE_STATS)
# A file that changes again within a step of its file system's clock keeps its time: the coarsest step is two seconds.
SETTLED_NS = 2_000_000_000
FILES_A_REPORT = 4096


class FullCheck(BaseModel):
    """A check of all of a dataset, which found no error.

    fingerprint: of its files, and of what they were checked for. problems: the warnings.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    when: datetime
    num_files: int
    problems: tuple[Problem, ...]


class _Record(BaseModel):
    datasets: dict[str, FullCheck]


@dataclass(frozen=True)
class Fingerprint:
    """A dataset's files, and what they are checked for, in a digest.

    newest_ns: when the last of its files changed. taken_ns: when the first was looked at.
    """

    digest: str
    num_files: int
    newest_ns: int
    taken_ns: int

    @property
    def is_settled(self) -> bool:
        """Whether any later change of a file would give it another time."""
        return self.newest_ns + SETTLED_NS < self.taken_ns


def read_full_checks(run_folder: Path) -> Mapping[str, FullCheck]:
    """Earlier full checks by dataset; none where the file is missing, damaged or of another version."""
    try:
        return _Record.model_validate_json((run_folder / RECORD).read_bytes()).datasets
    except (OSError, ValidationError):
        return {}


def keep_full_checks(run_folder: Path, checks: Mapping[str, FullCheck]) -> None:
    """Keep full checks in the run's folder; where it cannot be written, the next start checks all again."""
    with suppress(OSError):
        run_folder.mkdir(parents=True, exist_ok=True)
        replace_file(run_folder / RECORD, _Record(datasets=dict(checks)).model_dump_json(indent=2) + "\n")


def pass_check(fingerprint: Fingerprint, problems: tuple[Problem, ...]) -> FullCheck | None:
    """What to keep of a full check; None where there are errors, or where a file changed just before it."""
    if not fingerprint.is_settled or any(problem.severity == "error" for problem in problems):
        return None
    now = datetime.fromtimestamp(fingerprint.taken_ns // 1_000_000_000, timezone.utc)
    return FullCheck(fingerprint=fingerprint.digest, when=now, num_files=fingerprint.num_files, problems=problems)


def take_fingerprint(
    dataset: Path, judged_by: str, on_files: Callable[[int], None] = lambda num_done: None
) -> Fingerprint:
    """The dataset as it is now.

    Args:
        dataset: Its folder; links in it are followed.
        judged_by: What the files are checked for, such as the modality config.
        on_files: Told how many files were looked at.
    """
    taken, newest, num_files = time_ns(), 0, 0
    digest = hashlib.sha256(f"{VERSION}\n{judged_by}\n".encode())
    for name, path in _files(dataset, "", {os.path.realpath(dataset)}):
        try:
            told, changed_ns = _describe(name, path)
        except OSError as error:
            told, changed_ns = f"{name}: {error.strerror}", 0
        if told is None:
            continue
        digest.update(told.encode("utf-8", "surrogateescape") + b"\n")
        newest, num_files = max(newest, changed_ns), num_files + 1
        if num_files % FILES_A_REPORT == 0:
            on_files(num_files)
    return Fingerprint(digest.hexdigest(), num_files, newest, taken)


def _files(folder: str | Path, name: str, followed: set[str]) -> Iterator[tuple[str, str]]:
    """(name in the dataset, path) of every file, folder by folder in order of names.

    followed: where links to folders have led, so that a circle is walked once.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield f"{name} ({error.strerror})", os.fspath(folder)
        return
    for entry in entries:
        if not _is_folder(entry):
            yield name + entry.name, entry.path
            continue
        if entry.is_symlink():
            end = os.path.realpath(entry.path)
            if end in followed:
                continue
            followed.add(end)
        yield from _files(entry.path, f"{name}{entry.name}/", followed)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # told as a file that cannot be looked at
        return False


def _describe(name: str, path: str) -> tuple[str | None, int]:
    """What must stay the same of a file, and when it changed; None: it makes no difference.

    Raises:
        OSError: it cannot be looked at, such as a link that leads nowhere.
    """
    found = os.stat(path)
    if not (name in READ or name.startswith(f"{META}/")):
        return f"{name} {found.st_size} {found.st_mtime_ns}", found.st_mtime_ns
    if name not in REWRITTEN:
        return f"{name} {hash_file(Path(path))}", 0
    content = Path(path).read_bytes()
    with suppress(ValueError):
        values = json.loads(content)
        content = json.dumps(values, sort_keys=True).encode()
        if not values:  # GR00T leaves an empty one where no action is relative
            return None, 0
    return f"{name} {hashlib.sha256(content).hexdigest()}", 0
