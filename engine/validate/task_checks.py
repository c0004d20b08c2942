"""The tasks that an episode's rows name, against tasks.jsonl and episodes.jsonl."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from millrace.engine.dataset.metadata import EPISODES, TASKS, Episode, GrootFeature, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.rows import read_integers
from millrace.engine.errors import RowsError
from millrace.engine.text import join_names

TASK_INDEX = "task_index"


def task_problems(
    table: pa.Table, sound: Mapping[str, GrootFeature], metadata: Metadata, episode: Episode
) -> Iterator[Problem]:
    """Task indices that tasks.jsonl lacks, and tasks that episodes.jsonl lists otherwise.

    Args:
        table: The episode's rows, at least one.
        sound: Columns of it that can be used.
        metadata: Of the dataset.
        episode: As episodes.jsonl tells it.
    """
    if metadata.tasks is None:
        return
    path = metadata.data_path(episode.index)
    annotations = () if metadata.modality is None else metadata.modality.annotations.values()
    read = dict.fromkeys((TASK_INDEX, *annotations))
    # Nothing reads an annotation that modality.json does not name, but it may explain what episodes.jsonl lists.
    others = [name for name in sound if name.startswith("annotation.")]
    named: dict[str, set[str]] = {}
    problems: list[Problem] = []
    for column in dict.fromkeys((*read, *others)):
        if column not in sound or "int" not in sound[column].dtype or sound[column].width != 1:
            continue
        found = _read_tasks(table, column, metadata.tasks, path)
        if not isinstance(found, Problem):
            named[column] = found
        elif column in read:
            problems.append(found)
    yield from problems or _listing_problems(episode, named)


def _read_tasks(table: pa.Table, column: str, tasks: Mapping[int, str], path: Path) -> set[str] | Problem:
    """The texts that a column of task indices names."""
    try:
        found = np.unique(read_integers(table, column, where=path)).tolist()
    except RowsError as error:
        return Problem.of("task-unresolved", path, str(error))
    unknown = [str(index) for index in found if index not in tasks]
    if unknown:
        return Problem.of("task-unresolved", path, f"{column} holds {join_names(unknown)}, which {TASKS} lacks")
    return {tasks[index] for index in found}


def _listing_problems(episode: Episode, named: Mapping[str, set[str]]) -> Iterator[Problem]:
    """Another check reports an episode without any listed task.

    LeRobot reads the rows' task_index, GR00T the annotation column or, by its language key `task`, episodes.jsonl.
    Annotations may say more than episodes.jsonl lists, such as the step that an episode is at.
    """
    listed, everywhere = set(episode.tasks), set().union(*named.values())
    if not (listed and everywhere):
        return
    where = f"lists {_quoted(listed)} for episode {episode.index}"
    if unlisted := named.get(TASK_INDEX, everywhere if listed.isdisjoint(everywhere) else set()) - listed:
        yield Problem.of("tasks-differ", EPISODES, f"{where}, but its rows have {_quoted(unlisted)}")
    elif unused := listed - everywhere:
        yield Problem.of("task-unused", EPISODES, f"{where}, but none of its rows has {_quoted(unused)}")


def _quoted(texts: set[str]) -> str:
    return join_names([repr(text) for text in sorted(texts)])
