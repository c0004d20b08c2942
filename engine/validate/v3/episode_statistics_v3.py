"""Statistics of each episode as meta/episodes has them, read forwards and only those of the episodes at hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.rows import to_numbers
from millrace.engine.dataset.stats import QUANTILES
from millrace.engine.errors import RowsError
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.sources import diagnose_file
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.row_stream import RowStream
from millrace.engine.text import join_names
from millrace.engine.validate.v3.column_summary import STATISTICS
from millrace.engine.validate.v3.v3_dataset import COUNTERS, Ints, V3Feature, V3Info, make_v3_problem

BATCH_ROWS = 256
MAX_LINES = 100
# Of one feature, by statistic: (n, W) for n episodes.
Stored = dict[str, dict[str, NDArray[np.float64]]]


@dataclass
class _Average:
    """A sum of one quantile over episodes, by their numbers of rows."""

    total: Any = 0.0
    num_rows: float = 0.0


@dataclass
class StoredStatistics:
    """The statistics in the files of meta/episodes.

    root: the dataset. files: with their rows. problems: what is wrong with statistics that were read.
    """

    root: Path
    info: V3Info
    files: Sequence[tuple[Path, int]]
    problems: list[Problem] = field(default_factory=list)
    averages: dict[tuple[str, str], _Average] = field(default_factory=dict)
    _number: int = -1
    _stream: RowStream | None = None
    _columns: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Close the file that is open."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def read(self, rows: Ints, numbers: Ints) -> Stored:
        """Statistics of episodes by their rows in meta/episodes, of every numeric feature that has sound ones.

        Args:
            rows: Of the table, (n,).
            numbers: The episodes, (n,), for messages.
        """
        try:
            parts = [self._read_table(start, stop) for start, stop in _stretches(rows)]
        except DAMAGE as error:
            path = self.files[self._number][0]
            self._report(path, f"statistics cannot be read: {diagnose_file(path, error)[1]}")
            self.close()
            return {}
        common = set.intersection(*(set(part.column_names) for part in parts))
        found: Stored = {}
        for name, feature in self.info.features.items():
            stats = {stat: f"stats/{name}/{stat}" for stat in STATISTICS if f"stats/{name}/{stat}" in common}
            values = {
                stat: array
                for stat, column in stats.items()
                if (array := self._values(parts, column, stat, feature, numbers)) is not None
            }
            if feature.is_vector and values:
                found[name] = values
                self._add_averages(name, values)
        return found

    def missing_problems(self) -> Iterator[Problem]:
        """Features without statistics of each episode, a line for each file."""
        for path, num_rows in self.files:
            try:
                with CheckedParquet(path) as file:
                    names = set(file.names)
            except DAMAGE:
                continue  # told when it is read
            lacking = [
                name
                for name, feature in self.info.features.items()
                if (feature.is_numeric or feature.is_camera)
                and any(f"stats/{name}/{stat}" not in names for stat in STATISTICS if stat not in QUANTILES)
            ]
            if num_rows and lacking:
                message = f"has no statistics of {join_names(lacking, 8)}"
                yield make_v3_problem("episode-stats-missing", path.relative_to(self.root), message)

    def average(self, feature: str, stat: str) -> NDArray[np.float64] | None:
        """The quantile of a feature as LeRobot makes it of all episodes: their average, by rows; (D,)."""
        found = self.averages.get((feature, stat))
        return None if found is None or not found.num_rows else np.asarray(found.total / found.num_rows)

    def _add_averages(self, name: str, values: Mapping[str, NDArray[np.float64]]) -> None:
        if name in COUNTERS or "count" not in values:
            return
        counts = values["count"][:, :1]
        for stat in QUANTILES.keys() & values.keys():
            average = self.averages.setdefault((name, stat), _Average())
            average.total = average.total + (counts * values[stat]).sum(axis=0)
            average.num_rows += float(counts.sum())

    def _values(
        self, parts: Sequence[pa.Table], column: str, stat: str, feature: V3Feature, numbers: Ints
    ) -> NDArray[np.float64] | None:
        """One column as (n, W); None where it has not the shape due."""
        try:
            arrays = [to_numbers(part.column(column)) for part in parts]
            values = np.concatenate([array.reshape(len(array), -1) for array in arrays]).astype(np.float64)
        except (RowsError, ValueError) as error:
            self._report(EPISODES_FOLDER, f"{column} {error}, episodes {numbers[0]} to {numbers[-1]}")
            return None
        due = 1 if stat == "count" else feature.width if feature.is_vector else None
        if due is not None and values.shape[1] != due:
            self._report(EPISODES_FOLDER, f"{column} has {values.shape[1]} values, expected {due}")
            return None
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            self._report(EPISODES_FOLDER, f"{column} is not finite for episode {numbers[bad[0]]}")
            return None
        return values

    def _report(self, path: str | Path, message: str) -> None:
        relative = path.relative_to(self.root) if isinstance(path, Path) else path
        if len(self.problems) < MAX_LINES:
            self.problems.append(make_v3_problem("episode-stats-shape", relative, message))

    def _read_table(self, start: int, stop: int) -> pa.Table:
        """Rows [start, stop) of the table, which may lie in several files."""
        parts: list[pa.Table] = []
        first = 0
        for number, (_, num_rows) in enumerate(self.files):
            begin, end = max(start - first, 0), min(stop - first, num_rows)
            if begin < end:
                parts.extend(self._open(number).read_batches(begin, end))
            first += num_rows
        names = [name for name in parts[0].column_names if all(name in part.column_names for part in parts)]
        return pa.concat_tables([part.select(names) for part in parts], promote_options="permissive")

    def _open(self, number: int) -> RowStream:
        if self._stream is None or self._number != number:
            self.close()
            self._number = number
            file = CheckedParquet(self.files[number][0])
            self._columns = [name for name in file.names if name.startswith("stats/") and file.names.count(name) == 1]
            self._stream = RowStream(file, self._columns, batch_rows=BATCH_ROWS)
        return self._stream


def _stretches(rows: Ints) -> Iterator[tuple[int, int]]:
    """Half-open ranges of rows that follow one another."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    for part in np.split(rows, cuts):
        yield int(part[0]), int(part[-1]) + 1
