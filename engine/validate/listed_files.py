"""Check the files that millrace.json lists: sizes and digests."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from millrace.engine.dataset.json_files import Unreadable, is_file
from millrace.engine.dataset.manifest import Lineage, parse_episode, read_manifest_episodes, read_manifest_head
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.record import FileRecord, hash_file
from millrace.engine.layout import CARD, MANIFEST, META, MODALITY_CONFIG, PREVIEW
from millrace.engine.sources import why_foreign
from millrace.engine.sources.parquet import is_hidden

# Files that a process reads at a time: few of them when Ctrl-C comes, many against what handing them over costs.
FILES_AT_ONCE = 32


def manifest_problems(root: Path, on_files: Callable[[int], None], *, num_processes: int = 1) -> Iterator[Problem]:
    """Sizes and digests of all listed files, and files in data/ and videos/ that are not listed.

    on_files: told how many are done.
    """
    if not is_file(root / MANIFEST):
        return
    listed: set[str] = set()
    unreadable: list[Problem] = []
    records = _until_unreadable(_listed_files(root), unreadable)
    num_done = 0
    judge = partial(_judge_files, root)
    for names, problems in map_in_processes(judge, chunks(records, FILES_AT_ONCE), num_processes=num_processes):
        listed.update(names)
        num_done += len(names)
        yield from problems
        on_files(num_done)
    yield from unreadable
    if unreadable:
        return
    for folder in (name for name in ("data", "videos") if not why_foreign(root / name, root)):
        for path in find_files(root / folder):
            relative = path.relative_to(root)
            if relative.as_posix() not in listed and not is_hidden(relative):
                yield Problem.of(
                    "files-unlisted", relative, "is not listed in millrace.json; Millrace did not write it"
                )


def _until_unreadable(records: Iterable[FileRecord], problems: list[Problem]) -> Iterator[FileRecord]:
    """The records as far as they can be read; what ends them goes to `problems`."""
    try:
        yield from records
    except Unreadable as error:
        problems.append(error.problem)


def _judge_files(root: Path, records: Sequence[FileRecord]) -> tuple[list[str], list[Problem]]:
    """The names of listed files, and what is wrong with them."""
    problems = [problem for record in records for problem in _digest_problems(root, record)]
    return [record.path.as_posix() for record in records], problems


def read_resting_joints(root: Path) -> Mapping[str, tuple[str, ...]]:
    """Read the joints that no source drives from millrace.json, by modality; empty where it does not say."""
    try:
        return read_manifest_head(root).at_rest
    except Unreadable:
        return {}  # manifest_problems says so


def _listed_files(root: Path) -> Iterator[FileRecord]:
    """Every file of millrace.json, one episode's in memory at a time."""
    head = read_manifest_head(root)
    yield from head.files
    yield from (file for episode in head.episodes for file in episode.files)
    for text in read_manifest_episodes(root):
        yield from parse_episode(text, Lineage).files


def _digest_problems(root: Path, record: FileRecord) -> Iterator[Problem]:
    path = record.path
    if path.is_absolute() or ".." in path.parts:
        yield Problem.of("digests", MANIFEST, f"lists {str(path)!r}, which leads out of the dataset")
        return
    if reason := why_foreign(root / path, root):
        yield Problem.of("digests", path, f"is listed in millrace.json, but {reason}")
        return
    code = "digests-text" if _may_be_edited(path) else "digests"
    try:
        num_bytes = (root / path).stat().st_size if is_file(root / path) else None
        if num_bytes is None:
            yield Problem.of(code, path, "is listed in millrace.json, but missing")
        elif num_bytes != record.num_bytes:
            yield Problem.of(code, path, f"{num_bytes} bytes, but millrace.json says {record.num_bytes}")
        elif hash_file(root / path) != record.sha256:
            yield Problem.of(code, path, "is not the file that millrace.json describes: its SHA-256 differs")
    except OSError as error:
        yield Problem.of("digests", path, f"is listed in millrace.json, but cannot be read ({error.strerror})")


def _may_be_edited(path: Path) -> bool:
    """Whether users may edit a file: remedies ask it of them and other checks judge it, or it is for people alone."""
    is_metadata = path.parts[0] == META and path.suffix in (".json", ".jsonl")
    return is_metadata or path.as_posix() in (MODALITY_CONFIG, CARD, PREVIEW)


def find_files(folder: Path, suffix: str = "") -> Iterator[Path]:
    """The files below a folder whose names end so, a folder at a time: a million paths take a gigabyte."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(files) if name.endswith(suffix))
