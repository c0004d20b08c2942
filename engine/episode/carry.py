"""An output episode's columns beside state and action, from the source's rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset import EpisodeWarning
from millrace.engine.dataset.language_rows import LANGUAGE
from millrace.engine.dataset.rows import read_numbers, read_scalars, to_arrow
from millrace.engine.episode.carry_language import carry_language
from millrace.engine.episode.row_warnings import TIMESTAMP
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.planning.carried import SUBTASK, CarriedColumn, Rule
from millrace.engine.text import join_names

# A column whose kept rows hold so many rows of each value on average holds labels, not counters.
ROWS_A_LABEL = 2
# Characters of a label in a warning, which is kept for each episode.
MAX_LABEL = 60


@dataclass(frozen=True)
class SourceRows:
    """All rows of a source episode, those that are trimmed at its end too.

    frames: kept rows, rising; shape (T',). Each stands for itself and all before the next, the first for all before it,
    too, so that what rows say counts once whichever are cut. where: the file, for errors. subtasks: the output's
    number of each of the source's; empty where these stay as they are. cameras: the output's name of each of the
    source's that it has.
    """

    table: pa.Table
    frames: NDArray[np.int64]
    where: str
    fps: Fraction
    subtasks: Mapping[int, int] = field(default_factory=dict)
    cameras: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Times of all rows, (T,), by their timestamps where these increase."""
        steady = np.arange(len(self.table)) / float(self.fps)
        try:
            found = read_scalars(self.table, TIMESTAMP, where=self.where)
        except (RowsError, KeyError):
            return steady
        return found if np.all(np.diff(found) > 0) else steady

    @property
    def is_whole(self) -> bool:
        """Whether every row is kept."""
        return len(self.frames) == len(self.table)


def carry_numbers(rows: SourceRows, column: CarriedColumn) -> NDArray[Any]:
    """A column of numbers or truth values at the kept frames, by its rule: (T',), or (T', D) for D > 1.

    Raises:
        RowsError: rows lack the column, or hold other values than the metadata says.
    """
    _check_exists(rows, column)
    try:
        values = _as_stated(read_numbers(rows.table, column.name, where=rows.where), column, rows.where)
        if column.name == SUBTASK and rows.subtasks:
            values = _number_subtasks(values, rows)
    except RowsError as error:
        raise RowsError(error, "; ", advise(column), code=error.code).about(error.facts) from None
    found = values[rows.frames] if rows.is_whole else resample_column(values, rows.frames, column.rule)
    return found[:, 0] if column.num_values == 1 else found


def carry_texts(
    rows: SourceRows, columns: Iterable[CarriedColumn], fps: Fraction
) -> tuple[dict[str, pa.Array], list[EpisodeWarning]]:
    """Columns of texts and of language at the kept frames, T' of them each, and what was lost; fps: of the output.

    Raises:
        RowsError: rows lack a column, or hold something else.
    """
    texts: dict[str, pa.Array] = {}
    warnings: list[EpisodeWarning] = []
    for column in columns:
        _check_exists(rows, column)
        if column.name in LANGUAGE:
            texts[column.name], lost = _carry_said(rows, column, fps)
            warnings += lost
        else:
            texts[column.name] = _carry_text(rows, column)
    return texts, warnings


def _carry_text(rows: SourceRows, column: CarriedColumn) -> pa.Array:
    texts = rows.table.column(column.name).combine_chunks()
    if pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.string())
    if (held := _why_no_texts(texts)) is not None:
        message = f"column '{column.name}' {held} in {rows.where}; "
        raise RowsError(message, advise(column), code=FaultCode.NOT_NUMBERS, expected="texts")
    return texts.take(to_arrow(rows.frames))


def _why_no_texts(texts: pa.Array) -> str | None:
    """Why a column holds no texts, in words that follow it; None where each row has one."""
    if not pa.types.is_string(texts.type):
        return f"holds {texts.type}, not texts"
    if texts.null_count:
        return f"lacks {texts.null_count} texts"
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return "holds texts that are no UTF-8"
    return None


def _carry_said(rows: SourceRows, column: CarriedColumn, fps: Fraction) -> tuple[pa.Array, list[EpisodeWarning]]:
    due = np.arange(len(rows.frames)) / float(fps)
    array = rows.table.column(column.name).combine_chunks()
    try:
        texts, num_lost = carry_language(
            column.name, array, rows.frames, shown=rows.seconds[rows.frames], due=due, cameras=rows.cameras
        )
    except (ValueError, RecursionError) as error:
        message = f"column '{column.name}' in {rows.where} holds no language as LeRobot 0.6 has it: {error}; "
        raise RowsError(message, advise(column), code=FaultCode.NOT_NUMBERS) from error
    message = f"column '{column.name}' says {num_lost} things about cameras that the output lacks; they are left out"
    return texts, [EpisodeWarning(code="lost-language", message=message)] if num_lost else []


def advise(column: CarriedColumn) -> Remedy:
    """What to do about a column that cannot be carried."""
    return Remedy("to do without this column, pass ", Setting("without_columns", [column.name]))


def _check_exists(rows: SourceRows, column: CarriedColumn) -> None:
    if column.name not in rows.table.column_names:
        message = f"{rows.where} has no column '{column.name}', which the metadata describes; "
        raise RowsError(message, advise(column), code=FaultCode.MISSING, got=column.name)


def _as_stated(values: NDArray[Any], column: CarriedColumn, where: str) -> NDArray[Any]:
    """(T, D) values in the type that the metadata says, which float32 can hold."""
    if values.shape[1] != column.num_values:
        message = f"column '{column.name}' holds {values.shape[1]} values a row in {where}, but the metadata says "
        message += str(column.num_values)
        raise RowsError(message, code=FaultCode.WIDTH, got=values.shape[1], expected=column.num_values)
    with np.errstate(all="ignore"):  # what is lost is told below
        found = values.astype(np.dtype(column.dtype))
        is_finite = np.isfinite(found.astype(np.float32)) if column.is_float else np.ones(1, np.bool_)
    if not is_finite.all():
        message = f"column '{column.name}' has {np.sum(~is_finite)} values that are NaN or infinite in {where}"
        raise RowsError(message, code=FaultCode.NOT_FINITE, expected="finite numbers")
    if not column.is_float and not np.array_equal(found, values):
        message = f"column '{column.name}' holds values in {where} that are no {column.dtype}, as the metadata says"
        raise RowsError(message, code=FaultCode.NOT_NUMBERS, expected=column.dtype)
    return found


def _number_subtasks(values: NDArray[Any], rows: SourceRows) -> NDArray[Any]:
    """The output's numbers of subtasks; negative ones, as of rows without any, stay."""
    theirs, inverse = np.unique(values, return_inverse=True)
    if unknown := [number for number in theirs.tolist() if number >= 0 and number not in rows.subtasks]:
        message = f"{SUBTASK} {unknown} in {rows.where} names no subtask that the metadata lists"
        raise RowsError(message, code=FaultCode.TASK, got=unknown)
    ours = np.array([rows.subtasks.get(number, number) for number in theirs.tolist()], dtype=values.dtype)
    return ours[inverse].reshape(values.shape)


def resample_column(values: NDArray[Any], frames: NDArray[np.int64], rule: Rule) -> NDArray[Any]:
    """(T, D) values at the kept frames: kept frame k stands for rows [frames[k], frames[k + 1]), the last for the rest,
    and the first for all before it, too.

    Raises:
        RowsError: a sum does not fit the column's type.
    """
    if rule == "kept":
        return values[frames]
    starts = np.concatenate([[0], frames[1:]])
    if rule == "any":
        return np.logical_or.reduceat(values, starts, axis=0)
    if rule == "max":
        return np.maximum.reduceat(values, starts, axis=0)
    wide = np.float64 if values.dtype.kind == "f" else np.int64
    sums = np.add.reduceat(values.astype(wide), starts, axis=0)
    found = sums.astype(values.dtype)
    if values.dtype.kind != "f" and not np.array_equal(found, sums):
        raise RowsError(f"sums of rows do not fit {values.dtype}", code=FaultCode.NOT_NUMBERS)
    return found


def lost_values(rows: SourceRows, columns: Sequence[CarriedColumn]) -> Iterator[EpisodeWarning]:
    """Warn of labels that only rows have that are not kept, such as a short event."""
    if rows.is_whole:
        return
    for column in columns:
        if column.is_float or column.rule != "kept" or column.num_values != 1 or column.name in LANGUAGE:
            continue
        values = rows.table.column(column.name).combine_chunks()
        if pa.types.is_nested(values.type):  # lists of one value
            values = values.flatten()
        kept = pc.unique(values.take(to_arrow(rows.frames)))
        if len(kept) * ROWS_A_LABEL > len(rows.frames):
            continue
        every = pc.unique(values)
        lost = every.filter(pc.invert(pc.is_in(every, value_set=kept))).to_pylist()
        if lost:
            message = (
                f"column '{column.name}' holds {join_names(list(map(_show, lost)))} only in frames that are not kept"
            )
            yield EpisodeWarning(code="lost-label", message=message)


def _show(label: object) -> str:
    """A label in a warning, cut short."""
    text = repr(label)
    return text if len(text) <= MAX_LABEL else f"{text[:MAX_LABEL]}..."
