"""One episode's parquet against info.json, episodes.jsonl and tasks.jsonl."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.engine.dataset.data_checks import TOLERANCE_SECONDS, find_uneven_step
from millrace.engine.dataset.json_files import why_no_file
from millrace.engine.dataset.metadata import INFO, Episode, GrootFeature, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.rows import read_integers, read_table, read_vectors, to_numbers
from millrace.engine.errors import DatasetError, RowsError
from millrace.engine.sources.parquet import read_schema
from millrace.engine.text import join_names
from millrace.engine.validate.task_checks import task_problems

# A rate is written with few digits: 29.97 for 30000/1001.
RATE_TOLERANCE = 1e-5
# What keeps a column from being used, and rows from being counted in statistics.
UNSOUND_COLUMN = {"columns-missing", "columns-dtype", "columns-shape", "rows-finite"}
UNSOUND_ROWS = {*UNSOUND_COLUMN, "rows-missing", "rows-unreadable", "rows-length"}


def orphan_row_problems(metadata: Metadata) -> Iterator[Problem]:
    """Parquet files, also hidden ones, that GR00T's statistics would include but no episode names."""
    known = {str(metadata.data_path(index)) for index in metadata.indices.tolist()}
    # A folder at a time: a million paths take a gigabyte.
    paths = (path for folder in sorted(metadata.root.glob("data/*")) for path in sorted(folder.glob("*.parquet")))
    for path in paths:
        relative = path.relative_to(metadata.root)
        if str(relative) not in known:
            yield Problem.of("rows-orphan", relative, "belongs to no episode of episodes.jsonl; move it away")


def row_problems(metadata: Metadata, episode: Episode) -> Iterator[Problem]:
    """Everything about one episode's rows; the file is read once."""
    path = metadata.data_path(episode.index)
    if reason := why_no_file(metadata.root, path):
        yield Problem.of("rows-missing", path, f"{reason}; episodes.jsonl has {episode.length} rows of it")
        return
    features = {name: feature for name, feature in metadata.info.features.items() if feature.is_column}
    try:
        table, missing = _read(metadata.root / path, list(features))
    except (RowsError, ValueError) as error:  # pyarrow: a column's name is no UTF-8
        yield Problem.of("rows-unreadable", path, str(error).removeprefix(f"{metadata.root / path} "))
        return
    if len(table) != episode.length:
        yield Problem.of("rows-length", path, f"{len(table)} rows, but episodes.jsonl says {episode.length}")
    for name in missing:
        yield Problem.of(
            "columns-missing", path, f"has no column {name!r}. Known: {join_names(table.column_names, 12)}"
        )
    unsound = set(missing)
    for name in table.column_names:
        found = list(_column_problems(table.column(name), name, features[name], path))
        yield from found
        if any(one.code in UNSOUND_COLUMN for one in found):
            unsound.add(name)
    sound = {name: feature for name, feature in features.items() if name not in unsound}
    if len(table):
        yield from _index_problems(table, sound, metadata, episode)
        yield from task_problems(table, sound, metadata, episode)
        if "timestamp" in sound and sound["timestamp"].is_float and sound["timestamp"].width == 1:
            yield from _timestamp_problems(read_vectors(table, "timestamp", where=path)[:, 0], metadata.info.fps, path)


def _read(path: Path, wanted: list[str]) -> tuple[pa.Table, list[str]]:
    """Those of the wanted columns that there are, and the names of the others."""
    try:
        table = read_table(path, wanted)
    except RowsError:
        try:
            known = read_schema(path).names
        except DatasetError:
            known = wanted
        table = read_table(path, [name for name in wanted if name in known])
    names = table.column_names
    doubles = [name for name in names if names.count(name) > 1]
    if doubles:
        raise RowsError(f"has the column {doubles[0]!r} twice")
    return table, [name for name in wanted if name not in names]


def _column_problems(column: pa.ChunkedArray, name: str, feature: GrootFeature, path: Path) -> Iterator[Problem]:
    """Kind, width and values of one column; after the first of these that is wrong the others are not judged."""
    array = column.combine_chunks()
    kind = _value_type(array.type)
    said = arrow_type(feature.dtype)
    if said is None and not feature.is_float:
        return
    if said is None or type_family(kind) != type_family(said):
        yield Problem.of("columns-dtype", path, f"column {name!r} holds {array.type}, but {INFO} says {feature.dtype}")
        return
    if kind != said and type_family(said) in ("float", "int"):
        yield Problem.of("columns-precision", path, f"column {name!r} holds {kind}, but {INFO} says {feature.dtype}")
    num_missing = array.null_count
    if not num_missing and kind != array.type:
        widths = pc.unique(pc.list_value_length(array)).to_pylist() or [feature.width]
        if widths != [feature.width]:
            message = f"column {name!r} has rows of {join_names([str(width) for width in sorted(widths)])} values"
            yield Problem.of("columns-shape", path, f"{message}, but {INFO} says {feature.width}")
            return
        array = array.flatten()
        num_missing = array.null_count
    elif not num_missing and feature.width != 1:
        message = f"column {name!r} has one value a row, but {INFO} says {feature.width}"
        yield Problem.of("columns-shape", path, message)
        return
    if num_missing:
        yield Problem.of("rows-finite", path, f"column {name!r} lacks {num_missing} values")
    elif type_family(kind) == "float":
        yield from _finite_problems(array, name, feature, path)


def _finite_problems(array: Any, name: str, feature: GrootFeature, path: Path) -> Iterator[Problem]:
    # GR00T and LeRobot read float32, in which large float64 values are infinite.
    with np.errstate(over="ignore"):
        values = to_numbers(array).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row, value = divmod(int(bad[0]), feature.width)
        where = feature.value_name(value) or f"value {value}"
        message = f"column {name!r} has {len(bad)} values that are NaN or infinite, the first in row {row}, {where}"
        yield Problem.of("rows-finite", path, message)


def _index_problems(
    table: pa.Table, sound: dict[str, GrootFeature], metadata: Metadata, episode: Episode
) -> Iterator[Problem]:
    path = metadata.data_path(episode.index)
    frames = np.arange(len(table))
    expected = {"frame_index": frames, "episode_index": np.full(len(table), episode.index)}
    if metadata.is_numbered:
        expected["index"] = frames + episode.first_row
    for name, right in expected.items():
        if name not in sound or "int" not in sound[name].dtype:
            continue
        try:
            wrong = np.flatnonzero(read_integers(table, name, where=path) != right)
        except RowsError as error:
            yield Problem.of("rows-index", path, str(error))
            continue
        if len(wrong):
            row = int(wrong[0])
            found = table.column(name)[row].as_py()
            yield Problem.of("rows-index", path, f"{name} is {found} in row {row}, expected {right[row]}")


def _timestamp_problems(seconds: NDArray[np.float32], fps: Fraction, path: Path) -> Iterator[Problem]:
    """seconds: (T,), as LeRobot reads them."""
    due = np.arange(len(seconds)) / float(fps)
    slack = TOLERANCE_SECONDS + RATE_TOLERANCE * due + np.spacing(due.astype(np.float32))
    wrong = np.flatnonzero(np.abs(seconds - due) > slack)
    if len(wrong):
        first = int(wrong[0])
        message = f"timestamp is {seconds[first]:g} s in row {first}, expected {due[first]:g} s at {float(fps):g} fps"
        yield Problem.of("timestamps", path, message)
        return
    if (row := find_uneven_step(seconds, fps)) is not None:
        message = (
            f"from row {row} ({due[row]:.0f} s) on, float32 timestamps step by more than {TOLERANCE_SECONDS:g} s off "
            f"1 / {float(fps):g}: LeRobot 0.3.3 refuses the dataset by its default tolerance_s, GR00T reads it"
        )
        yield Problem.of("timestamps-float32", path, message)


def _value_type(kind: pa.DataType) -> pa.DataType:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else kind


def arrow_type(dtype: str) -> pa.DataType | None:
    """The type that info.json names, None for one that is not arrow's."""
    try:
        return pa.type_for_alias(dtype)
    except ValueError:
        return None


def type_family(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    return str(kind)
