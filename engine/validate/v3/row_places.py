"""Where the rows of each episode lie in data/, by the rows themselves, and what meta/episodes says of that."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.json_files import why_no_file
from millrace.engine.dataset.problems import Problem
from millrace.engine.errors import DatasetError
from millrace.engine.sources import diagnose_file, why_foreign
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.parquet import read_episode_runs
from millrace.engine.validate.v3.schema_checks import schema_problems
from millrace.engine.validate.v3.v3_dataset import (
    EPISODES_FOLDER,
    EpisodeTable,
    Ints,
    V3Info,
    V3Metadata,
    make_v3_problem,
)

# Of one kind, a line each; the others are counted in one more.
MAX_LINES = 100


@dataclass(frozen=True, eq=False)
class FileRuns:
    """Rows of one episode that lie together in a data file: R runs.

    path: relative to the dataset. numbers, starts: each run's episode and first row, (R,). is_sound: whether every
    column can be used.
    """

    path: Path
    num_rows: int
    numbers: Ints
    starts: Ints
    is_sound: bool

    @property
    def stops(self) -> Ints:
        """The row after each run's last, (R,)."""
        return np.append(self.starts[1:], self.num_rows)


def list_data_files(root: Path) -> list[Path]:
    """The parquet files that LeRobot joins, hidden ones too, in its order; relative to the dataset."""
    return sorted(path.relative_to(root) for path in root.glob("data/*/*.parquet"))


def read_file_runs(root: Path, info: V3Info, paths: Sequence[Path]) -> list[tuple[FileRuns | None, list[Problem]]]:
    """The runs of some data files, None of one that cannot be read, and what is wrong with their columns."""
    return [_read_runs(root, info, path) for path in paths]


def _read_runs(root: Path, info: V3Info, path: Path) -> tuple[FileRuns | None, list[Problem]]:
    if refusal := why_foreign(root / path, root):
        return None, [make_v3_problem("rows-unreadable", path, str(refusal))]
    try:
        with CheckedParquet(root / path) as file:
            problems = list(schema_problems(file.schema, info, path))
        numbers, starts, num_rows = read_episode_runs(root / path)
    except DatasetError as error:
        return None, [make_v3_problem("rows-unreadable", path, str(error).removeprefix(f"{root / path} "))]
    except DAMAGE as error:
        return None, [make_v3_problem("rows-unreadable", path, str(diagnose_file(root / path, error)[1]))]
    return FileRuns(path, num_rows, numbers, starts, not any(one.severity == "error" for one in problems)), problems


@dataclass(frozen=True, eq=False)
class RowPlaces:
    """The runs of all files as one list of M runs, in LeRobot's order.

    numbers, first, last: each run's episode and its rows [first, last) of the dataset, (M,). file: its file's place in
    `files`. episode: row of meta/episodes that lists it, or -1. num_runs, num_rows: of each listed episode, (N,).
    extra: files that no episode names, whose rows are all elsewhere, too; they are not among `files`.
    has_all: whether these are all rows of the listed episodes, and no others, so that their places are LeRobot's.
    """

    files: tuple[FileRuns, ...]
    extra: tuple[FileRuns, ...]
    has_all: bool
    numbers: Ints
    first: Ints
    last: Ints
    file: Ints
    episode: Ints
    num_runs: Ints
    num_rows: Ints

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """Whether a run is all rows of a listed episode, (M,)."""
        found: NDArray[np.bool_] = (self.episode >= 0) & (self.num_runs[self.episode] == 1)
        return found


def find_rows(metadata: V3Metadata, files: Sequence[FileRuns], *, is_complete: bool) -> RowPlaces:
    """Bring together the runs of all data files; is_complete: whether all could be read."""
    table = metadata.table
    named = _named_files(metadata)
    rest = [file for file in files if file.path not in named]
    places = _join_runs(table, [file for file in files if file.path in named])
    extra = [file for file in rest if _is_elsewhere(file, table, places)]
    if len(extra) < len(rest):
        places = _join_runs(table, [file for file in files if file not in extra])
    is_whole = np.array_equal(places.num_rows, table.lengths) and bool((places.num_runs == 1).all())
    has_all = is_complete and not extra and is_whole and bool((places.episode >= 0).all())
    return replace(places, extra=tuple(extra), has_all=has_all)


def _named_files(metadata: V3Metadata) -> dict[Path, int]:
    """How many episodes name each data file."""
    data = metadata.table.data
    named, counts = np.unique(np.stack([data.chunk, data.file]), axis=1, return_counts=True)
    return {metadata.data_path(*pair): count for pair, count in zip(named.T.tolist(), counts.tolist(), strict=True)}


def _is_elsewhere(file: FileRuns, table: EpisodeTable, places: RowPlaces) -> bool:
    """Whether the episodes of a file have all of their rows in others."""
    rows = np.flatnonzero(np.isin(table.numbers, file.numbers))
    return len(rows) > 0 and bool((places.num_rows[rows] == table.lengths[rows]).all())


def _join_runs(table: EpisodeTable, files: Sequence[FileRuns]) -> RowPlaces:
    before = np.cumsum([0, *(file.num_rows for file in files)])
    none = np.zeros(0, np.int64)
    numbers = np.concatenate([none, *(file.numbers for file in files)])
    first = np.concatenate([none, *(file.starts + start for file, start in zip(files, before, strict=False))])
    last = np.concatenate([none, *(file.stops + start for file, start in zip(files, before, strict=False))])
    file = np.repeat(np.arange(len(files)), np.array([len(one.numbers) for one in files], np.int64))
    known, rows = np.unique(table.numbers, return_index=True)
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    episode = np.where(known[place] == numbers, rows[place], -1)
    listed, size = episode[episode >= 0], (last - first)[episode >= 0]
    num_runs = np.bincount(listed, minlength=table.num_episodes)
    num_rows = np.bincount(listed, weights=size, minlength=table.num_episodes).astype(np.int64)
    return RowPlaces(
        files=tuple(files),
        extra=(),
        has_all=False,
        numbers=numbers,
        first=first,
        last=last,
        file=file,
        episode=episode,
        num_runs=num_runs,
        num_rows=num_rows,
    )


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
    for path, count in _named_files(metadata).items():
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
