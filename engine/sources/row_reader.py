"""Read rows from files of one episode, or of thousands."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from millrace.engine.errors import DatasetError, FaultCode, RowsError
from millrace.engine.sources.checked_parquet import DAMAGE
from millrace.engine.sources.containment import why_refused
from millrace.engine.sources.damage import diagnose_file
from millrace.engine.sources.episode import RowRange, Rows, SourceEpisode
from millrace.engine.sources.parquet import episode_ranges, list_parquet_files


def read_rows(rows: RowRange, columns: Sequence[str]) -> pa.Table:
    """Those columns of a range of rows; see `RowReader.read_ranges`."""
    return RowReader().read_ranges([rows], columns)


class RowReader:
    """Reads the rows of one episode after the other.

    It keeps the last file open: episodes may share it, and a footer may list thousands of row groups.
    """

    def __init__(self) -> None:
        self._opened: tuple[Path, Callable[[Path], Rows]] | None = None
        self._file: Rows | None = None
        self._ranges: dict[Path, dict[int, list[RowRange]]] = {}  # of each shared file, by episode
        self._paths: dict[Path, list[Path]] = {}  # of each folder that was searched
        self._broken: dict[Path, DatasetError] = {}  # files in which rows cannot be looked for

    def read(
        self, episode: SourceEpisode, columns: Sequence[str], *, optional: Sequence[str] = ()
    ) -> tuple[tuple[RowRange, ...], pa.Table]:
        """Where an episode's rows really lie, and those columns of them, the optional ones where all files have them.

        Rows of shared files say themselves whose they are: where the expected ones are not exactly the
        episode's, they are looked for.

        Raises:
            MillraceError: no file holds the rows, or one cannot be read.
        """
        ranges = episode.rows if episode.search is None else self._locate(episode, episode.search)
        return ranges, self.read_ranges(ranges, columns, optional=optional)

    def _locate(self, episode: SourceEpisode, folder: Path) -> tuple[RowRange, ...]:
        root = episode.rows[0].root
        searched = [rows.path for rows in episode.rows]
        found = self._search(searched, root, episode.index)
        if sum(rows.num_rows for rows in found) != episode.num_frames:
            if folder not in self._paths:
                if episode.repository is not None:
                    episode.repository.fetch_rows(folder)
                self._ranges.clear()  # what was not there may have come
                self._paths[folder] = list_parquet_files(folder, "**/*.parquet")
            searched = [*searched, *self._paths[folder]]
            found = self._search(self._paths[folder], root, episode.index)
        broken = next((path for path in searched if path in self._broken), None)
        if broken is not None and sum(rows.num_rows for rows in found) != episode.num_frames:
            error = self._broken[broken]
            elsewhere = sum(rows.num_rows for rows in found)
            reason = f"; other files hold {elsewhere} of the episode's {episode.num_frames} rows"
            code = diagnose_file(broken, error.__cause__ or error)[0]
            raise RowsError(error, reason, code=code, file=broken, got=elsewhere, expected=episode.num_frames)
        if not found:
            raise RowsError(f"no rows of episode {episode.index} below {folder}", code=FaultCode.MISSING, file=folder)
        return tuple(found)

    def _search(self, paths: Iterable[Path], root: Path | None, episode: int) -> list[RowRange]:
        """The episode's rows in those of the files that can be read."""
        found: list[RowRange] = []
        for path in dict.fromkeys(paths):
            try:
                found += self._ranges_in(path, root, episode)
                self._broken.pop(path, None)
            except DatasetError as error:
                self._broken[path] = error
        return found

    def _ranges_in(self, path: Path, root: Path | None, episode: int) -> Sequence[RowRange]:
        """The rows of a shared file that carry the episode's index."""
        if path not in self._ranges:
            _check_own(path, root)
            self._ranges[path] = {}
            for index, rows in episode_ranges(path, root) if path.is_file() else ():
                self._ranges[path].setdefault(index, []).append(rows)
        return self._ranges[path].get(episode, ())

    def read_ranges(
        self, ranges: Sequence[RowRange], columns: Sequence[str], *, optional: Sequence[str] = ()
    ) -> pa.Table:
        """Those columns of ranges of rows, one after the other; other row groups are not touched.

        Raises:
            RowsError: no such file, it is damaged, a column or rows are missing.
        """
        tables = [self._read(rows, tuple(dict.fromkeys(columns)), optional) for rows in ranges]
        common = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
        try:
            return pa.concat_tables([table.select(common) for table in tables])
        except pa.ArrowException as error:
            where = ", ".join(str(rows) for rows in ranges)
            raise RowsError(
                f"columns hold other types of values in each of {where}", code=FaultCode.NOT_NUMBERS
            ) from error

    def read_names(self, rows: RowRange) -> list[str]:
        """The columns of a file of rows.

        Raises:
            RowsError: as `read_ranges`.
        """
        with self._opening(rows) as file:
            return list(file.names)

    def count_rows(self, rows: RowRange) -> int:
        """Number of rows of the whole file.

        Raises:
            RowsError: as `read_ranges`.
        """
        with self._opening(rows) as file:
            return file.num_rows

    def _read(self, rows: RowRange, columns: tuple[str, ...], optional: Sequence[str]) -> pa.Table:
        with self._opening(rows) as file:
            _check_columns(file, rows.path, columns)
            columns += tuple(name for name in optional if file.names.count(name) == 1 and name not in columns)
            stop = file.num_rows if rows.stop is None else rows.stop
            if stop > file.num_rows:
                raise RowsError(
                    f"{rows.path} has {file.num_rows} rows, expected rows [{rows.start}, {stop})",
                    code=FaultCode.ROW_COUNT,
                    file=rows.path,
                    got=file.num_rows,
                    expected=stop,
                )
            return file.read(rows.start, stop, columns)

    @contextmanager
    def _opening(self, rows: RowRange) -> Iterator[Rows]:
        """The open file of rows; damage found while it is read becomes RowsError."""
        _check_own(rows.path, rows.root)
        try:
            if not rows.path.is_file():
                raise RowsError(f"no rows at {rows.path}", code=FaultCode.MISSING, file=rows.path)
            yield self._open(rows)
        except DAMAGE as error:
            code, what = diagnose_file(rows.path, error)
            raise RowsError(f"{rows.path} ", what, code=code, file=rows.path) from error

    def _open(self, rows: RowRange) -> Rows:
        if self._file is None or self._opened != (rows.path, rows.open):
            if self._file is not None:
                self._file.close()
            self._opened = self._file = None
            self._opened, self._file = (rows.path, rows.open), rows.open(rows.path)
        return self._file


def _check_own(path: Path, root: Path | None) -> None:
    if root is not None and (refusal := why_refused(path, root)):
        raise RowsError(f"{path} ", refusal.reason, code=refusal.code, file=path)


def _check_columns(file: Rows, path: Path, columns: Sequence[str]) -> None:
    known = file.names
    missing = [name for name in columns if known.count(name) != 1]
    if missing:
        named = ", ".join(map(repr, missing))
        message = f"{path} has no column {named}. Known: {', '.join(known)}"
        raise RowsError(message, code=FaultCode.MISSING, file=path, got=missing, known=tuple(known))
