"""What meta/episodes says of the places of rows, against where they lie."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from millrace.engine.dataset.json_files import why_no_file
from millrace.engine.dataset.problems import Problem
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.validate.v3.row_places import RowPlaces, count_named_files
from millrace.engine.validate.v3.v3_dataset import EpisodeTable, Ints, V3Metadata, make_v3_problem

# Of one kind, a line each; the others are counted in one more.
MAX_LINES = 100


def row_place_problems(metadata: V3Metadata, places: RowPlaces, *, is_complete: bool) -> Iterator[Problem]:
    """Compare where rows lie with meta/episodes.

    Args:
        metadata: Of the dataset.
        places: Of its rows.
        is_complete: Whether all files could be read.
    """
    table = metadata.table
    absent = list(_absent_file_problems(metadata))
    yield from absent
    yield from _orphan_problems(places)
    if is_complete and not absent:
        lost = np.flatnonzero(places.num_rows == 0)
        yield from _each(lost, lambda k: _problem(table, k, "rows-missing", "no data file holds rows of it"))
    if is_complete:
        other = np.flatnonzero((places.num_rows != table.lengths) & (places.num_rows > 0))
        yield from _each(other, lambda k: _length_problem(table, k, int(places.num_rows[k])))
    yield from _run_problems(metadata, places)
    yield from _offset_problems(table, places)


def _length_problem(table: EpisodeTable, row: int, num_rows: int) -> Problem:
    return _problem(table, row, "rows-length", f"{num_rows} rows, but {EPISODES_FOLDER} says {table.lengths[row]}")


def _problem(table: EpisodeTable, row: int, code: str, message: str, path: Path | None = None) -> Problem:
    number = int(table.numbers[row])
    return make_v3_problem(code, path or EPISODES_FOLDER, f"episode {number}: {message}", episode=number)


def _each(rows: Ints, make: Callable[[int], Problem]) -> Iterator[Problem]:
    """A problem for each of the first rows, and one that counts the others."""
    for row in rows[:MAX_LINES].tolist():
        problem = make(row)
        yield problem
    if len(rows) > MAX_LINES:
        yield make_v3_problem(problem.code, problem.path, f"and so have {len(rows) - MAX_LINES} more episodes")


def _absent_file_problems(metadata: V3Metadata) -> Iterator[Problem]:
    for path, count in count_named_files(metadata).items():
        if reason := why_no_file(metadata.root, path):
            yield make_v3_problem("rows-missing", path, f"{reason}; {count} episodes should lie there")


def _orphan_problems(places: RowPlaces) -> Iterator[Problem]:
    """A line for each file with rows of no listed episode, or that no episode names."""
    later = "LeRobot reads them too, and finds other rows later than it should"
    for file in places.extra:
        yield make_v3_problem("rows-orphan", file.path, f"no episode names it, and its rows are in others; {later}")
    orphans = np.flatnonzero(places.episode < 0)
    for number in np.unique(places.file[orphans]).tolist():
        runs = orphans[places.file[orphans] == number]
        num_rows = int((places.last - places.first)[runs].sum())
        message = (
            f"{num_rows} of its {places.files[number].num_rows} rows are of episodes that meta/episodes lacks, the "
            f"first of episode {places.numbers[runs[0]]}; {later}"
        )
        yield make_v3_problem("rows-orphan", places.files[number].path, message)


def _run_problems(metadata: V3Metadata, places: RowPlaces) -> Iterator[Problem]:
    """Episodes in several places, and in other files than is said."""
    table = metadata.table
    runs = np.flatnonzero(places.episode >= 0)
    runs = runs[np.argsort(places.episode[runs], kind="stable")]
    follows = places.episode[runs][1:] == places.episode[runs][:-1]
    apart = np.flatnonzero(follows & (places.first[runs][1:] != places.last[runs][:-1]))
    yield from _each(
        np.unique(places.episode[runs[apart + 1]]),
        lambda k: _problem(table, k, "rows-order", f"its rows lie in {places.num_runs[k]} places, with others between"),
    )
    paths = {file.path: number for number, file in enumerate(places.files)}
    data = table.data
    named, inverse = np.unique(np.stack([data.chunk, data.file]), axis=1, return_inverse=True)
    numbers = np.array([paths.get(metadata.data_path(*pair), -1) for pair in named.T.tolist()], np.int64)
    said = numbers[inverse.reshape(-1)][places.episode[runs]]
    # A file that is missing is told already.
    wrong = runs[(said >= 0) & (said != places.file[runs])]

    def told(run: int) -> Problem:
        row = int(places.episode[run])
        there = metadata.data_path(int(data.chunk[row]), int(data.file[row]))
        message = f"its rows lie in {places.files[places.file[run]].path}, but meta/episodes names {there}"
        return _problem(table, row, "rows-file-index", message)

    yield from _each(wrong, told)


def _offset_problems(table: EpisodeTable, places: RowPlaces) -> Iterator[Problem]:
    """Places against the rows, or against the lengths where rows are missing or too many, which is told already."""
    ends = table.lengths.cumsum()
    first, last = ends - table.lengths, ends
    if places.has_all:
        first[places.episode], last[places.episode] = places.first, places.last
    wrong = np.flatnonzero((table.first_row != first) | (table.end_row != last))
    yield from _each(
        wrong,
        lambda k: _problem(
            table,
            k,
            "rows-offsets",
            f"dataset_from_index and dataset_to_index are {table.first_row[k]} and {table.end_row[k]}, but its rows "
            f"are {first[k]} to {last[k]} of the dataset",
        ),
    )
