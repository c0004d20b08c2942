"""Where the rows of each episode lie in data/, by the rows themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.problems import Problem
from millrace.engine.errors import DatasetError
from millrace.engine.sources import diagnose_file, why_foreign
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.parquet import read_episode_runs
from millrace.engine.validate.v3.schema_checks import schema_problems
from millrace.engine.validate.v3.v3_dataset import (
    EpisodeTable,
    Ints,
    V3Info,
    V3Metadata,
    make_v3_problem,
)


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
    named = count_named_files(metadata)
    rest = [file for file in files if file.path not in named]
    places = _join_runs(table, [file for file in files if file.path in named])
    extra = [file for file in rest if _is_elsewhere(file, table, places)]
    if len(extra) < len(rest):
        places = _join_runs(table, [file for file in files if file not in extra])
    is_whole = np.array_equal(places.num_rows, table.lengths) and bool((places.num_runs == 1).all())
    has_all = is_complete and not extra and is_whole and bool((places.episode >= 0).all())
    return replace(places, extra=tuple(extra), has_all=has_all)


def count_named_files(metadata: V3Metadata) -> dict[Path, int]:
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
