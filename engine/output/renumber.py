"""Give finished episodes the numbers of the present plan, without converting them again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset import EpisodeRecord, summarize_columns
from millrace.engine.dataset.record import FileRecord
from millrace.engine.dataset.rows import (
    EpisodeRows,
    read_integers,
    read_numbers,
    read_table,
    read_vectors,
    write_rows,
)
from millrace.engine.dataset.writing import finish_file, move_file
from millrace.engine.layout import ACTION, STATE, EpisodePaths
from millrace.engine.output.ledger import Ledger
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.planning.carried import CarriedColumn

# Episodes whose rows are rewritten between two flushes of the ledger.
BATCH = 256


def move_episodes(plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path) -> None:
    """Move finished episodes whose number has changed, the lowest first.

    Numbers only fall when episodes are removed, so each place is free by then. An episode whose number would rise,
    as after a source has grown, is converted again. A run killed here can continue: each place is vacated in the
    ledger before it is written to, and a record that lost a file no longer counts.
    """
    for episode in plan.episodes:
        record = None if ledger.is_placed(episode) else ledger.misplaced_record(episode)
        if record is not None and record.index > episode.index:
            ledger.vacate(episode.index)
            ledger.sync()
            ledger.append(_move(record, episode, plan, out, scratch))
            (out / record.files[0].path).unlink()


def renumber_rows(plan: ConversionPlan, ledger: Ledger, out: Path, scratch: Path, *, num_threads: int) -> None:
    """Give the rows of finished episodes the numbers of frames and tasks that the plan has by now.

    A run that is killed here converts the episodes of one batch again.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        misplaced = (episode for episode in plan.episodes if episode not in ledger)
        while batch := list(islice(misplaced, BATCH)):
            moves = [(record, episode) for episode in batch if (record := ledger.misplaced_record(episode))]
            for episode in batch:
                ledger.vacate(episode.index)
            ledger.sync()
            for moved in pool.map(lambda move: _move(move[0], move[1], plan, out, scratch), moves):
                ledger.append(moved)


def _move(record: EpisodeRecord, episode: EpisodePlan, plan: ConversionPlan, out: Path, scratch: Path) -> EpisodeRecord:
    paths = EpisodePaths(episode.index, plan.job.chunks_size)
    numbers = {text: index for index, text in enumerate(plan.tasks)}
    tasks = {before: numbers[text] for before, text in record.tasks}
    rows = _renumber_rows(out / record.files[0].path, episode, tasks, plan.job.carried)
    unfinished = scratch / f"{episode.index}.rows"
    write_rows(unfinished, rows)
    files = [finish_file(unfinished, out, paths.data)]
    for camera, clip in zip(plan.cameras, record.files[1:], strict=True):
        if clip.path != paths.video(camera):
            move_file(out / clip.path, out / paths.video(camera))
        files.append(clip.model_copy(update={"path": paths.video(camera)}))
    return _renumber_record(record, episode, rows, files, tuple((tasks[before], text) for before, text in record.tasks))


def _renumber_record(
    record: EpisodeRecord,
    episode: EpisodePlan,
    rows: EpisodeRows,
    files: Sequence[FileRecord],
    tasks: tuple[tuple[int, str], ...],
) -> EpisodeRecord:
    stats = record.stats | {name: summarize_columns(values) for name, values in rows.columns().items()}
    numbers = {"index": episode.index, "first_index": episode.first_index, "tasks": tasks}
    changed: EpisodeRecord = record.model_copy(update={**numbers, "files": tuple(files), "stats": stats})
    return changed


def _renumber_rows(
    path: Path, episode: EpisodePlan, tasks: dict[int, int], carried: Sequence[CarriedColumn]
) -> EpisodeRows:
    """A finished episode's rows; tasks: numbers of its tasks now, by those before."""
    numbers, texts = ([one.name for one in carried if one.is_number is wanted] for wanted in (True, False))
    table = read_table(path, [STATE, ACTION, "timestamp", "task_index", *numbers, *texts])
    others = {name: read_numbers(table, name, where=path) for name in numbers}
    return EpisodeRows(
        episode_index=episode.index,
        first_index=episode.first_index,
        timestamp=read_vectors(table, "timestamp", where=path)[:, 0],
        state=read_vectors(table, STATE, where=path),
        action=read_vectors(table, ACTION, where=path),
        task_index=_renumber_tasks(table, path, tasks),
        others={name: values[:, 0] if values.shape[1] == 1 else values for name, values in others.items()},
        texts={name: table.column(name).combine_chunks() for name in texts},
    )


def _renumber_tasks(table: pa.Table, path: Path, tasks: dict[int, int]) -> NDArray[np.int64]:
    before, inverse = np.unique(read_integers(table, "task_index", where=path), return_inverse=True)
    return np.array([tasks[index] for index in before.tolist()], dtype=np.int64)[inverse]
