"""Read the places of all episodes from meta/episodes, file by file and a batch of rows at a time."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.rows import to_numbers
from millrace.engine.errors import RowsError
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.sources import diagnose_file, why_foreign
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.text import join_names
from millrace.engine.validate.v3.v3_dataset import (
    ClipPlaces,
    EpisodeTable,
    FilePlaces,
    V3Info,
    make_v3_problem,
)

BATCH_ROWS = 1 << 12
# Ten times what the largest datasets hold; each takes about a hundred bytes.
MAX_EPISODES = 1 << 24
MAX_LENGTH = 2**31
WHOLE = ("episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")
OWN_FILE = ("meta/episodes/chunk_index", "meta/episodes/file_index")
CLIP_FILE, CLIP_TIMES = ("chunk_index", "file_index"), ("from_timestamp", "to_timestamp")
# Of texts within the rows, once each.
Tasks = tuple[str, ...]


@dataclass
class _Columns:
    """What was read so far, by column."""

    numbers: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: defaultdict(list))
    tasks: list[Tasks] = field(default_factory=list)
    shared: dict[Tasks, Tasks] = field(default_factory=dict)

    def add(self, name: str, values: NDArray[Any]) -> None:
        self.numbers[name].append(values)

    def add_tasks(self, listed: list[Any]) -> None:
        for texts in listed:
            found = tuple(text for text in texts or () if isinstance(text, str))
            self.tasks.append(self.shared.setdefault(found, found))

    def join(self, name: str, kind: type) -> NDArray[Any]:
        return np.concatenate([np.asarray(values, kind) for values in self.numbers[name]])


def list_episode_files(root: Path) -> list[Path]:
    """The files of meta/episodes as LeRobot finds them, hidden ones too, in its order."""
    return sorted((root / EPISODES_FOLDER).glob("*/*.parquet"))


def read_episode_table(root: Path, info: V3Info, report: list[Problem]) -> EpisodeTable:
    """The places of all episodes.

    Args:
        root: The dataset's folder.
        info: Its info.json.
        report: What is wrong, but does not keep them from being used, is added to it.

    Raises:
        Unreadable: a file cannot be read, or a column that LeRobot needs is missing or holds no numbers.
    """
    columns = _Columns()
    files: list[tuple[Path, int]] = []
    for path in list_episode_files(root):
        relative = path.relative_to(root)
        if refusal := why_foreign(path, root):
            raise Unreadable(make_v3_problem("meta-parse", relative, str(refusal)))
        try:
            with CheckedParquet(path) as file:
                num_rows = int(file.ends[-1]) if len(file.ends) else 0
                if sum(count for _, count in files) + num_rows > MAX_EPISODES:
                    raise Unreadable(
                        make_v3_problem("meta-parse", relative, f"lists more than {MAX_EPISODES} episodes")
                    )
                _read_file(file, info, relative, columns)
        except DAMAGE as error:
            raise Unreadable(make_v3_problem("meta-parse", relative, str(diagnose_file(path, error)[1]))) from error
        files.append((path, num_rows))
    if not sum(count for _, count in files):
        raise Unreadable(make_v3_problem("meta-parse", EPISODES_FOLDER, "lists no episode"))
    report += _own_file_problems(columns, files, root)
    return _to_table(columns, info, files)


def _read_file(file: CheckedParquet, info: V3Info, path: Path, columns: _Columns) -> None:
    cameras = info.video_keys
    whole = [*WHOLE, *(f"videos/{camera}/{name}" for camera in cameras for name in CLIP_FILE)]
    decimal = [f"videos/{camera}/{name}" for camera in cameras for name in CLIP_TIMES]
    wanted = ["tasks", *whole, *decimal]
    if missing := [name for name in wanted if file.names.count(name) != 1]:
        message = f"has no column {join_names(missing, 6)}, which LeRobot reads"
        raise Unreadable(make_v3_problem("episode-columns", path, message))
    own = [name for name in OWN_FILE if file.names.count(name) == 1]
    for group in file.all_groups:
        for batch in file.batches(group, [*wanted, *own], BATCH_ROWS):
            for name in (*whole, *decimal):
                columns.add(name, _numbers(batch, name, path, is_whole=name not in decimal))
            for name in OWN_FILE:
                columns.add(name, _own_numbers(batch, name) if name in own else np.full(len(batch), -1))
            columns.add_tasks(_texts(batch, path))


def _numbers(batch: pa.Table, name: str, path: Path, *, is_whole: bool) -> NDArray[Any]:
    """A column of one number a row, at least 0."""
    try:
        values = to_numbers(batch.column(name))
    except RowsError as error:
        raise Unreadable(make_v3_problem("episode-columns", path, f"column {name!r} {error}")) from error
    is_kind = values.ndim == 1 and (values.dtype.kind in "iu" if is_whole else values.dtype.kind in "iuf")
    if not is_kind:
        kind = "whole numbers" if is_whole else "numbers"
        message = f"column {name!r} holds {batch.schema.field(name).type}, expected {kind}"
        raise Unreadable(make_v3_problem("episode-columns", path, message))
    least, most = (1, MAX_LENGTH) if name == "length" else (0, 2**53)
    wrong = np.flatnonzero(~((values >= least) & (values <= most)))
    if len(wrong):
        row = int(wrong[0])
        where = f"column {name!r} is {values[row]} for {_episode(batch, row)}"
        raise Unreadable(make_v3_problem("episode-columns", path, f"{where}, expected {least} to {most}"))
    return values


def _own_numbers(batch: pa.Table, name: str) -> NDArray[Any]:
    """Whichever numbers are there; -1 where they are none."""
    try:
        values = to_numbers(batch.column(name))
    except RowsError:
        return np.full(len(batch), -1)
    return values if values.shape == (len(batch),) and values.dtype.kind in "iu" else np.full(len(batch), -1)


def _texts(batch: pa.Table, path: Path) -> list[Any]:
    column = batch.column("tasks")
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
            return list(column.to_pylist())
    message = f"column 'tasks' holds {column.type}, expected lists of texts"
    raise Unreadable(make_v3_problem("episode-columns", path, message))


def _episode(batch: pa.Table, row: int) -> str:
    return f"episode {batch.column('episode_index')[row].as_py()}"


def _own_file_problems(columns: _Columns, files: Sequence[tuple[Path, int]], root: Path) -> Iterator[Problem]:
    """A line for each file whose rows name another file."""
    named = [columns.join(name, np.int64) for name in OWN_FILE]
    start = 0
    for path, num_rows in files:
        due = _own_numbers_of(path)
        found = [values[start : start + num_rows] for values in named]
        start += num_rows
        if not num_rows or due is None:
            continue
        wrong = np.flatnonzero((found[0] != due[0]) | (found[1] != due[1]))
        if len(wrong):
            row = int(wrong[0])
            said = "name no file" if found[0][row] < 0 else f"name chunk {found[0][row]}, file {found[1][row]}"
            message = f"{len(wrong)} of {num_rows} rows {said}; LeRobot's merge looks for them there"
            yield make_v3_problem("episode-file-index", path.relative_to(root), message)


def _own_numbers_of(path: Path) -> tuple[int, int] | None:
    """The chunk and the file that a path says by its name; None where it has another name."""
    chunk, file = path.parent.name.removeprefix("chunk-"), path.stem.removeprefix("file-")
    is_named = all(text.isascii() and text.isdecimal() and len(text) < 10 for text in (chunk, file))
    return (int(chunk), int(file)) if is_named else None


def _to_table(columns: _Columns, info: V3Info, files: Sequence[tuple[Path, int]]) -> EpisodeTable:
    def whole(name: str) -> NDArray[np.int64]:
        return columns.join(name, np.int64)

    def places(prefix: str) -> FilePlaces:
        return FilePlaces(whole(f"{prefix}/chunk_index"), whole(f"{prefix}/file_index"))

    clips = {
        camera: ClipPlaces(
            places(f"videos/{camera}"),
            *(columns.join(f"videos/{camera}/{name}", np.float64) for name in CLIP_TIMES),
        )
        for camera in info.video_keys
    }
    return EpisodeTable(
        numbers=whole("episode_index"),
        lengths=whole("length"),
        first_row=whole("dataset_from_index"),
        end_row=whole("dataset_to_index"),
        tasks=tuple(columns.tasks),
        data=places("data"),
        clips=clips,
        files=tuple(files),
    )
