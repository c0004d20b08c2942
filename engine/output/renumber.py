"""Give finished episodes the numbers of the present plan, without converting them again."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.engine.dataset import ColumnSummary, EpisodeRecord, summarize_columns
from millrace.engine.dataset.changed_rows import change_rows
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.record import FileRecord
from millrace.engine.dataset.writing import sync_file
from millrace.engine.errors import OutputFailed
from millrace.engine.layout import EpisodePaths
from millrace.engine.output.ledger import Ledger
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.stored import FinishedFiles

# Episodes that are rewritten in one process together, then put in place between two flushes of the ledger.
EPISODES_AT_ONCE = 32
# Fewer are rewritten sooner than another process starts.
EPISODES_PER_PROCESS = 256
# In a record: its rows hold other numbers than its place.
STALE = -1


@dataclass(frozen=True)
class Renumbered:
    """What an episode's rows are to hold. tasks: its tasks' numbers now, by those before."""

    rows: FileRecord
    index: int
    first_index: int
    tasks: dict[int, int]


@dataclass(frozen=True)
class Rewritten:
    """An episode's rows with their numbers, not in their place yet.

    rows: what will lie there; None where what lies there is not what was written. stats: of the columns that changed.
    """

    unfinished: Path
    rows: FileRecord | None
    stats: dict[str, ColumnSummary]


def move_episodes(plan: ConversionPlan, ledger: Ledger) -> None:
    """Move finished episodes whose number has changed, the lowest first; `renumber_rows` is to follow.

    Numbers only fall when episodes are removed, so each place is free by then. An episode whose number would rise,
    as after a source has grown, is converted again. A run killed here can continue: each place is vacated in the
    ledger before it is written to, and a record that lost a file no longer counts.
    """
    for episode in plan.episodes:
        record = None if ledger.is_placed(episode) else ledger.misplaced_record(episode)
        if record is not None and record.index > episode.index:
            ledger.vacate(episode.index)
            ledger.sync()
            ledger.append(_move_files(record, episode, plan, ledger.files))


def _move_files(
    record: EpisodeRecord, episode: EpisodePlan, plan: ConversionPlan, finished: FinishedFiles
) -> EpisodeRecord:
    paths = EpisodePaths(episode.index, plan.job.chunks_size)
    places = (paths.data, *map(paths.video, plan.cameras))
    files = tuple(finished.move(file, place) for file, place in zip(record.files, places, strict=True))
    moved: EpisodeRecord = record.model_copy(
        update={"index": episode.index, "first_index": STALE, "files": files},
    )
    return moved


def renumber_rows(
    plan: ConversionPlan,
    ledger: Ledger,
    out: Path,
    scratch: Path,
    *,
    num_processes: int,
    on_progress: Callable[[int, int], None] = lambda num_done, num_all: None,
) -> None:
    """Give the rows of finished episodes the numbers that the plan has by now: of frames, episodes and tasks.

    A run that is killed while a few episodes are put in place converts these again, and continues with the others.

    Args:
        plan: Its numbers are final.
        ledger: Of the episodes, which lie in their places.
        out: The dataset's folder.
        scratch: For files that are not finished.
        num_processes: The most processes that rewrite rows.
        on_progress: Called with the number of episodes that are done, and of all that need it.

    Raises:
        OutputFailed: an episode's rows were changed since they were written; it is converted again by the next run.
    """
    misplaced = [episode for episode in plan.episodes if episode not in ledger]
    num_processes = max(1, min(num_processes, len(misplaced) // EPISODES_PER_PROCESS))
    waiting: deque[tuple[EpisodeRecord, EpisodePlan]] = deque()
    due = chunks(_due(misplaced, plan, ledger, waiting), EPISODES_AT_ONCE)
    num_done = 0
    with ledger.files.at_hand(_rows_of(misplaced, ledger)):
        for rewritten in map_in_processes(partial(_rewrite_all, out, scratch), due, num_processes=num_processes):
            place = [(*waiting.popleft(), one) for one in rewritten]
            _put_in_place(place, plan, ledger, out)
            num_done += len(place)
            on_progress(num_done, len(misplaced))


def _rows_of(episodes: Iterable[EpisodePlan], ledger: Ledger) -> Iterator[FileRecord]:
    records = map(ledger.misplaced_record, episodes)
    return (record.files[0] for record in records if record is not None)


def _due(
    misplaced: Iterable[EpisodePlan],
    plan: ConversionPlan,
    ledger: Ledger,
    waiting: deque[tuple[EpisodeRecord, EpisodePlan]],
) -> Iterator[Renumbered]:
    """What becomes of each episode's rows; its record and its plan go to `waiting`."""
    numbers = {text: index for index, text in enumerate(plan.tasks)}
    for episode in misplaced:
        if (record := ledger.misplaced_record(episode)) is not None:
            waiting.append((record, episode))
            tasks = {before: numbers[text] for before, text in record.tasks}
            yield Renumbered(record.files[0], episode.index, episode.first_index, tasks)


def _rewrite_all(out: Path, scratch: Path, due: Sequence[Renumbered]) -> list[Rewritten]:
    return [_rewrite(one, out, scratch) for one in due]


def _rewrite(numbers: Renumbered, out: Path, scratch: Path) -> Rewritten:
    """An episode's rows with other numbers, as a file that waits to be put in its place."""
    unfinished = scratch / f"{numbers.index}.rows"
    changed = change_rows(
        out / numbers.rows.path,
        unfinished,
        sha256=numbers.rows.sha256,
        episode_index=numbers.index,
        first_index=numbers.first_index,
        tasks=numbers.tasks,
    )
    if changed is None:
        return Rewritten(unfinished, None, {})
    sync_file(unfinished)
    stats = {name: summarize_columns(values) for name, values in changed.items()}
    return Rewritten(unfinished, FileRecord.of(unfinished, numbers.rows.path), stats)


def _put_in_place(
    made: Sequence[tuple[EpisodeRecord, EpisodePlan, Rewritten]], plan: ConversionPlan, ledger: Ledger, out: Path
) -> None:
    for _, episode, _ in made:
        ledger.vacate(episode.index)
    ledger.sync()
    numbers = {text: index for index, text in enumerate(plan.tasks)}
    ledger.files.accept_all([(one.unfinished, one.rows) for _, _, one in made if one.rows is not None])
    for record, episode, one in made:
        if one.rows is not None:
            ledger.append(_renumber_record(record, episode, one, numbers))
    changed = next((episode.index for _, episode, one in made if one.rows is None), None)
    if changed is not None:
        path = out / EpisodePaths(changed, plan.job.chunks_size).data
        advice = Remedy("the same command converts it again")
        raise OutputFailed(f"{path} was changed since it was written; ", advice, file=path, episode=changed)


def _renumber_record(
    record: EpisodeRecord, episode: EpisodePlan, made: Rewritten, numbers: Mapping[str, int]
) -> EpisodeRecord:
    changed: EpisodeRecord = record.model_copy(
        update={
            "first_index": episode.first_index,
            "tasks": tuple((numbers[text], text) for _, text in record.tasks),
            "files": (made.rows, *record.files[1:]),
            "stats": record.stats | made.stats,
        }
    )
    return changed
