"""The ledger: the records of a run, one JSON line each, after a header with its recipe.

Records stay on disk: the driver keeps the position of each line and a few facts, also for 100,000 episodes.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from millrace.embodiments import Facts, MillraceError
from millrace.engine.dataset import EpisodeFailure, EpisodeRecord, EpisodeResult, EpisodeWarning
from millrace.engine.dataset.record import LEDGER_LINE, LedgerLine, Skipped, Vacated
from millrace.engine.errors import FaultCode
from millrace.engine.layout import LEDGER, PACKED
from millrace.engine.output.header import check_header, make_header
from millrace.engine.output.warning_sums import remove_roots
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.planning.numbering import Key
from millrace.engine.sources import FileState, name_file_in_errors
from millrace.engine.stored import LedgerMirror, finished_files


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a record: the position of its line, and what a summary needs without reading it again.

    row_digest: the SHA-256 of its rows' file.
    """

    place: int
    binding: int
    source_episode: int
    first_index: int
    tasks: tuple[tuple[int, str], ...]
    row_digest: bytes
    num_row_bytes: int
    num_video_bytes: int
    num_copied: int
    num_frames: int
    num_cut: int
    redone: tuple[str, ...]
    warnings: tuple[EpisodeWarning, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all its files."""
        return self.num_row_bytes + self.num_video_bytes

    @property
    def key(self) -> Key:
        """See `EpisodePlan.key`."""
        return self.binding, self.source_episode


class Ledger:
    """The append-only file OUT/.millrace/ledger.jsonl: a header, then a line for each event, in order.

    A record describes the files under its number until a later line replaces it. A number is vacated before files
    are written under it, so that no record describes another episode's files, whenever the run is killed.
    """

    def __init__(self, out: Path, plan: ConversionPlan, *, verify: bool = False, is_read_only: bool = False) -> None:
        """Continue the ledger of `out`, or start it.

        Args:
            out: The dataset's folder.
            plan: The dataset's plan.
            verify: Check finished files by digest, not only by size.
            is_read_only: Only read an existing ledger; its disk need not be writable.

        Raises:
            OtherRecipe: it was created with other settings or another map, or is damaged.
        """
        self.path = out / LEDGER
        self.out, self.verify, self.is_read_only = out, verify, is_read_only
        self.files, self._mirror = finished_files(out), LedgerMirror()
        self._entries: dict[int, Entry] = {}  # by number
        self._numbers: dict[Key, int] = {}  # the number of each finished episode
        self._known_tasks: dict[tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]] = {}
        self._misplaced: set[Key] = set()
        self._lost: dict[Key, str] = {}  # why a record does not count
        self._written: set[int] = set()  # numbers under which files may exist, of any episode
        self._skipped: tuple[EpisodeFailure, ...] = ()
        self._is_packed = (out / PACKED).is_file()
        self.follow(plan)
        if not is_read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("rb" if is_read_only else "a+b")
        try:
            with name_file_in_errors(self.path):
                self._begin_or_continue(make_header(plan))
            if not is_read_only:
                self._mirror = self.files.mirror(self.path)
                self._mirror.put()
        except BaseException:
            self._file.close()
            raise

    def follow(self, plan: ConversionPlan) -> None:
        """Hold the records against another plan of the same recipe, which may lack episodes or tasks."""
        self._plan = plan
        self._planned = {episode.key: episode for episode in plan.episodes}
        assert len(self._planned) == len(plan.episodes), "an episode of a source is in a dataset once"
        self._tasks = {text: index for index, text in enumerate(plan.tasks)}
        for index, entry in list(self._entries.items()):
            if entry.key not in self._planned:
                self._forget(index)
            elif self._is_in_place(index, entry):
                self._misplaced.discard(entry.key)
            else:
                self._misplaced.add(entry.key)

    def _begin_or_continue(self, header: dict[str, Any]) -> None:
        self._file.seek(0)
        first_line = self._file.readline()
        if first_line.endswith(b"\n") or self.is_read_only:
            check_header(first_line, header, self.out, recipe=self._plan.recipe)
            self._read_ledger_lines()
        else:
            self._file.truncate(0)
            self._write(json.dumps(header).encode())

    def _read_ledger_lines(self) -> None:
        """Read the lines of earlier runs; an incomplete last line is dropped."""
        place = self._file.tell()
        for line in iter(self._file.readline, b""):
            if not line.endswith(b"\n"):
                if not self.is_read_only:
                    self._file.truncate(place)
                break
            self._apply_line(_parse(line), place)
            place += len(line)

    def _apply_line(self, line: LedgerLine | None, place: int) -> None:
        if isinstance(line, Vacated):
            self._forget(line.index)
            self._written.discard(line.index)
        elif isinstance(line, Skipped):
            self._skipped = line.episodes
        elif isinstance(line, EpisodeRecord) and self._is_valid(line):
            self._register(line, place)
        elif isinstance(line, EpisodeRecord):
            self._forget(line.index)
            self._written.add(line.index)

    def _register(self, record: EpisodeRecord, place: int) -> None:
        """Register that the files under its number belong to this record."""
        self._forget(record.index)
        if record.key in self._numbers:
            self._forget(self._numbers[record.key])
        planned = self._planned[record.key]
        index = planned.index if planned.index == record.index else record.index  # one object in memory
        entry = self._make_entry(record, place, planned)
        self._entries[index] = entry
        self._numbers[planned.key] = index
        self._written.add(index)
        if not self._is_in_place(record.index, entry):
            self._misplaced.add(record.key)

    def _make_entry(self, record: EpisodeRecord, place: int, planned: EpisodePlan) -> Entry:
        is_first = planned.first_index == record.first_index
        sizes = [file.num_bytes for file in record.files]  # of its rows, then of its clips
        return Entry(
            place=place,
            binding=record.binding,
            source_episode=planned.episode.index,
            first_index=planned.first_index if is_first else record.first_index,
            tasks=self._known_tasks.setdefault(record.tasks, record.tasks),  # of many episodes a few
            row_digest=bytes.fromhex(record.files[0].sha256),
            num_row_bytes=sum(sizes[:1]),
            num_video_bytes=sum(sizes[1:]),
            num_copied=len(record.copied),
            num_frames=record.num_frames,
            num_cut=sum(cut.num_frames for cut in record.cuts if cut.why != "action"),
            redone=tuple(record.redone.values()),
            warnings=record.warnings,
        )

    def _forget(self, index: int) -> None:
        entry = self._entries.pop(index, None)
        if entry is not None:
            del self._numbers[entry.key]
            self._misplaced.discard(entry.key)

    def _is_valid(self, record: EpisodeRecord) -> bool:
        """Whether the record fits the episode as planned now, under any number, and its files exist."""
        if (why := self._reason_lost(record)) is not None:
            self._lost[record.key] = why
        return why is None

    def _reason_lost(self, record: EpisodeRecord) -> str | None:
        planned = self._planned.get(record.key)
        if planned is None or planned.digest != record.plan or self._has_changed_source(record):
            return "its source's files, or only their times of change, are others than when it was converted"
        files = () if self._is_packed else record.files
        return next(filter(None, (self.files.why_lost(file, verify=self.verify) for file in files)), None)

    def _has_changed_source(self, record: EpisodeRecord) -> bool:
        """Whether files that the plan did not list, but the conversion read, have changed."""
        root = self._plan.job.bindings[record.binding].root
        states = ((file, FileState.read(root / file.path)) for file in record.elsewhere)
        return any(state != FileState(file.num_bytes, file.mtime_ns) for file, state in states)

    def has_lost(self, episode: EpisodePlan) -> bool:
        """Whether an episode was converted, but its files or its source have changed since."""
        return episode.key in self._lost and episode.key not in self._numbers

    def reason_not_done(self, episode: EpisodePlan) -> str:
        """Why an episode does not count as converted."""
        return self._lost.get(episode.key, "it was never converted")

    def _is_in_place(self, index: int, entry: Entry) -> bool:
        planned = self._planned[entry.key]
        tasks = tuple((self._tasks.get(text), text) for _, text in entry.tasks)
        return (index, entry.first_index, entry.tasks) == (planned.index, planned.first_index, tasks)

    def append(self, result: EpisodeResult) -> None:
        """Write one result, without the paths of sources, and flush it to the operating system."""
        if isinstance(result, EpisodeFailure):
            self._write(_public_failure(result, self._plan).model_dump_json().encode())
        else:
            self._register(result, self._write(_public_record(result, self._plan).model_dump_json().encode()))

    def vacate(self, index: int) -> None:
        """Record that the files under a number are about to be replaced."""
        if index in self._written:
            self._write(Vacated(index=index).model_dump_json().encode())
            self._forget(index)
            self._written.discard(index)

    def sync(self) -> None:
        """Flush all lines to disk, and to the store where the files lie in one, so that nothing loses any of them."""
        with name_file_in_errors(self.path):
            os.fsync(self._file.fileno())
        self._mirror.put()

    def skip(self, failures: Sequence[EpisodeFailure]) -> None:
        """Record for later runs that these episodes are skipped, in addition to those skipped before."""
        self._skipped = (*self._still_skipped, *(_public_failure(failure, self._plan) for failure in failures))
        self._write(Skipped(episodes=self._skipped).model_dump_json().encode())

    def unskip(self, keys: Collection[Key]) -> None:
        """Record for later runs that these episodes are no longer skipped."""
        self._skipped = tuple(failure for failure in self._still_skipped if failure.key not in keys)
        self._write(Skipped(episodes=self._skipped).model_dump_json().encode())

    @property
    def skipped(self) -> tuple[EpisodeFailure, ...]:
        """Episodes that skip_bad skipped or the plan rejects, in the recipe's order."""
        failed = (one for one in self._still_skipped if one.code is not FaultCode.FILTERED)
        return _in_order((*failed, *self._plan.rejected))

    @property
    def filtered(self) -> tuple[EpisodeFailure, ...]:
        """Episodes that the recipe's filter leaves out, in the recipe's order."""
        by_rows = (one for one in self._still_skipped if one.code is FaultCode.FILTERED)
        return _in_order((*by_rows, *self._plan.filtered))

    @property
    def _still_skipped(self) -> tuple[EpisodeFailure, ...]:
        """The skipped episodes, without those that were fixed or converted since."""
        return tuple(failure for failure in self._skipped if self._is_skipped(failure))

    def _is_skipped(self, failure: EpisodeFailure) -> bool:
        planned = self._planned.get(failure.key)
        return planned is None or (planned.digest == failure.plan and failure.key not in self._numbers)

    def _write(self, line: bytes) -> int:
        self._mirror.check()
        with name_file_in_errors(self.path):
            place = self._file.seek(0, 2)
            self._file.write(line + b"\n")
            self._file.flush()
        return place

    def __contains__(self, episode: EpisodePlan) -> bool:
        """Whether an episode is converted and has the number that the plan gives it."""
        return episode.key in self._numbers and episode.key not in self._misplaced

    def is_placed(self, episode: EpisodePlan) -> bool:
        """Whether an episode is converted and lies under its number, whichever numbers its rows hold by now."""
        if (index := self._numbers.get(episode.key)) != episode.index:
            return False
        return all(text in self._tasks for _, text in self._entries[index].tasks)

    @property
    def lengths(self) -> dict[Key, int]:
        """Output frames of each converted episode."""
        return {entry.key: entry.num_frames for entry in self._entries.values()}

    def misplaced_record(self, episode: EpisodePlan) -> EpisodeRecord | None:
        """The record of a converted episode whose number or task numbers differ from the plan's; else None."""
        if episode.key not in self._misplaced:
            return None
        record = self.record(self._numbers[episode.key])
        return record if all(text in self._tasks for _, text in record.tasks) else None

    def records(self) -> Iterator[EpisodeRecord]:
        """The finished episodes in order of their number, read from disk."""
        for index in sorted(self._entries):
            yield self.record(index)

    def entries(self) -> Iterator[Entry]:
        """What is kept of the finished episodes, in order of their number."""
        for index in sorted(self._entries):
            yield self._entries[index]

    def task_texts(self) -> set[str]:
        """The tasks that rows of finished episodes name."""
        return {text for tasks in {entry.tasks for entry in self._entries.values()} for _, text in tasks}

    def record(self, index: int) -> EpisodeRecord:
        """The finished episode of a number."""
        with name_file_in_errors(self.path):
            self._file.seek(self._entries[index].place)
            record = _parse(self._file.readline())
        assert isinstance(record, EpisodeRecord), "entries are of records only"
        return record

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._mirror.close()
        except MillraceError:
            if kind is None:  # else what ended the run is told
                raise
        finally:
            self._file.close()


def read_ledger_lines(path: Path, places: Iterable[int]) -> Iterator[Any]:
    """The JSON of a ledger's lines by their positions, for processes that do not hold it."""
    with name_file_in_errors(path), path.open("rb") as file:
        for place in places:
            file.seek(place)
            yield json.loads(file.readline())


def _in_order(failures: Iterable[EpisodeFailure]) -> tuple[EpisodeFailure, ...]:
    by_key = {failure.key: failure for failure in failures}
    return tuple(by_key[key] for key in sorted(by_key))


def _public_failure(failure: EpisodeFailure, plan: ConversionPlan) -> EpisodeFailure:
    """The failure without the paths of sources, as the ledger is published when OUT is copied as a whole."""
    return failure.model_copy(update={"reason": remove_roots(failure.reason, plan), "facts": Facts()})


def _public_record(record: EpisodeRecord, plan: ConversionPlan) -> EpisodeRecord:
    """The record without the paths of sources, which its warnings may name."""
    if not record.warnings:
        return record
    warnings = (one.model_copy(update={"message": remove_roots(one.message, plan)}) for one in record.warnings)
    return record.model_copy(update={"warnings": tuple(warnings)})


def _parse(line: bytes) -> LedgerLine | None:
    try:
        return LEDGER_LINE.validate_json(line)
    except ValidationError:
        return None
