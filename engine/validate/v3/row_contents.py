"""The rows of some episodes of one data file: their values, what counts, tasks, and the episode's statistics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset.data_checks import TOLERANCE_SECONDS
from millrace.engine.dataset.metadata import INFO
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.rows import to_numbers
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.sources import RowRange, RowReader
from millrace.engine.text import join_names
from millrace.engine.validate.row_checks import RATE_TOLERANCE
from millrace.engine.validate.v3.column_summary import find_differences, summarize_rows
from millrace.engine.validate.v3.v3_dataset import (
    COUNTERS,
    TASKS_TABLE,
    V3Feature,
    V3Info,
    make_v3_problem,
)

Values = dict[str, NDArray[Any]]
# Of one feature, by statistic: (n, W) for n episodes.
StoredFeature = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class RowRules:
    """What all rows of a dataset are judged by.

    tasks: texts by index, None where unknown. kept: features whose values are handed back.
    """

    root: Path
    info: V3Info
    tasks: Mapping[int, str] | None
    kept: tuple[str, ...]


@dataclass(frozen=True)
class EpisodeRun:
    """An episode's rows [start, stop) of a file.

    length, tasks: what meta/episodes says. first_index: its first row's place in the dataset.
    """

    number: int
    start: int
    stop: int
    length: int
    first_index: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RowJob:
    """Episodes of one data file, and their statistics in meta/episodes by feature."""

    path: Path
    episodes: tuple[EpisodeRun, ...]
    stored: Mapping[str, StoredFeature]


@dataclass(frozen=True, eq=False)
class RowsFound:
    """What was found in the rows of a job.

    floats: features that stats.json is of, (T, D) over all episodes; empty where a value cannot be used.
    counters: min, max, sum and number of each column that counts.
    """

    num_episodes: int
    problems: list[Problem]
    floats: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    counters: dict[str, tuple[float, float, float, int]] = field(default_factory=dict)


def judge_rows(rules: RowRules, job: RowJob) -> RowsFound:
    """Judge the rows of some episodes; each is in memory alone."""
    problems: list[Problem] = []
    read: list[Values] = []
    for place, episode in enumerate(job.episodes):
        values, found = _judge_episode(rules, job.path, episode)
        problems += found
        if values is None:
            continue
        read.append(values)
        if episode.stop - episode.start != episode.length:
            continue
        stored = {name: {stat: rows[place] for stat, rows in stats.items()} for name, stats in job.stored.items()}
        problems += _statistics_problems(values, stored, episode)
    if len(read) < len(job.episodes):
        return RowsFound(len(job.episodes), problems)
    floats = {name: np.concatenate([values[name] for values in read]).astype(np.float32) for name in rules.kept}
    counters = {name: _count(np.concatenate([values[name] for values in read])) for name in COUNTERS if name in read[0]}
    return RowsFound(len(job.episodes), problems, floats, counters)


def summarized_features(info: V3Info) -> list[str]:
    """The features whose statistics policies may use."""
    return [name for name, feature in info.features.items() if feature.is_vector and name not in COUNTERS]


def _count(values: NDArray[Any]) -> tuple[float, float, float, int]:
    return float(values.min()), float(values.max()), float(values.sum(dtype=np.float64)), len(values)


@cache
def _reader() -> RowReader:
    """One for each process: it keeps the file open that the last job was of."""
    return RowReader()


def _judge_episode(rules: RowRules, path: Path, episode: EpisodeRun) -> tuple[Values | None, list[Problem]]:
    """An episode's numbers by column, (T, D); None where one of them cannot be used."""
    columns = {
        name: feature for name, feature in rules.info.columns.items() if feature.is_numeric or feature.dtype == "string"
    }
    rows = RowRange(rules.root / path, episode.start, episode.stop, rules.root)
    try:
        table = _reader().read_ranges([rows], list(columns))
    except (RowsError, ValueError) as error:  # ValueError: a name is no UTF-8
        message = str(error).removeprefix(f"{rules.root / path} ")
        return None, [_problem("rows-unreadable", path, episode, message)]
    values: Values = {}
    problems: list[Problem] = []
    for name, feature in columns.items():
        if feature.is_numeric:
            found = _read_values(table.column(name), name, feature)
            if isinstance(found, tuple):
                problems.append(_problem(found[0], path, episode, found[1]))
            else:
                values[name] = found
        elif table.column(name).null_count:
            message = f"column {name!r} lacks {table.column(name).null_count} texts"
            problems.append(_problem("rows-finite", path, episode, message))
    if problems:
        return None, problems
    return values, list(_counter_problems(values, rules, path, episode))


def _problem(code: str, path: str | Path, episode: EpisodeRun, message: str) -> Problem:
    return make_v3_problem(code, path, f"episode {episode.number}: {message}", episode=episode.number)


def _read_values(column: pa.ChunkedArray, name: str, feature: V3Feature) -> NDArray[Any] | tuple[str, str]:
    """A column as (T, D), or the code and the words of what is wrong."""
    try:
        numbers = to_numbers(column)
    except RowsError as error:
        code = "columns-shape" if error.code is FaultCode.WIDTH else "rows-finite"
        return code, f"column {name!r} {error}"
    values: NDArray[Any] = numbers.reshape(len(numbers), -1)
    if values.shape[1] != feature.width:
        return (
            "columns-shape",
            f"column {name!r} has {values.shape[1]} values a row, but {INFO} says {list(feature.shape)}",
        )
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # LeRobot reads float32, in which large float64 values are infinite
            bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
        if len(bad):
            row, value = bad[0].tolist()
            where = feature.value_name(value) or f"value {value}"
            message = f"column {name!r} has {len(bad)} values that are NaN or infinite, the first in row {row}, {where}"
            return "rows-finite", message
    return values


def _counter_problems(values: Values, rules: RowRules, path: Path, episode: EpisodeRun) -> Iterator[Problem]:
    frames = np.arange(episode.stop - episode.start)
    for name, right in {"frame_index": frames, "index": frames + episode.first_index}.items():
        wrong = np.flatnonzero(values[name][:, 0] != right).tolist() if name in values else []
        if wrong:
            row = wrong[0]
            message = f"{name} is {values[name][row, 0]} in row {row}, expected {right[row]}"
            yield _problem("rows-index", path, episode, message)
    if "timestamp" in values:
        yield from _timestamp_problems(values["timestamp"][:, 0], rules.info.fps, path, episode)
    if "task_index" in values and rules.tasks is not None:
        yield from _task_problems(np.unique(values["task_index"]).tolist(), rules.tasks, path, episode)


def _timestamp_problems(seconds: NDArray[Any], fps: Fraction, path: Path, episode: EpisodeRun) -> Iterator[Problem]:
    due = np.arange(len(seconds)) / float(fps)
    slack = TOLERANCE_SECONDS + RATE_TOLERANCE * due + np.spacing(due.astype(np.float32))
    wrong = np.flatnonzero(~(np.abs(seconds - due) <= slack))
    if len(wrong):
        row = int(wrong[0])
        message = f"timestamp is {seconds[row]:g} s in row {row}, expected {due[row]:g} s at {float(fps):g} fps"
        yield _problem("timestamps", path, episode, message)


def _task_problems(found: list[int], tasks: Mapping[int, str], path: Path, episode: EpisodeRun) -> Iterator[Problem]:
    unknown = [str(index) for index in found if index not in tasks]
    if unknown:
        message = f"task_index holds {join_names(unknown)}, which {TASKS_TABLE} lacks"
        yield _problem("task-unresolved", path, episode, message)
        return
    listed, named = set(episode.tasks), {tasks[index] for index in found}
    if more := named - listed:
        message = f"lists {_quoted(listed) or 'no task'}, but its rows have {_quoted(more)}"
        yield _problem("tasks-differ", EPISODES_FOLDER, episode, message)
    elif more := listed - named:
        message = f"lists {_quoted(listed)}, but none of its rows has {_quoted(more)}"
        yield _problem("task-unused", EPISODES_FOLDER, episode, message)


def _quoted(texts: set[str]) -> str:
    return join_names([repr(text) for text in sorted(texts)])


def _statistics_problems(
    values: Values, stored: Mapping[str, Mapping[str, NDArray[np.float64]]], episode: EpisodeRun
) -> Iterator[Problem]:
    """The first number that is not the rows', of each feature."""
    for name, stats in stored.items():
        if name not in values:
            continue
        difference = next(find_differences(stats, summarize_rows(values[name])), None)
        if difference is not None:
            code = "stats-counters" if name in COUNTERS else "episode-stats-values"
            yield _problem(code, EPISODES_FOLDER, episode, f"statistics of {name!r}: {difference}")
