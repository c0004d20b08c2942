"""Warnings about an episode's rows as they are converted; `inspect` makes the same checks."""

from collections.abc import Iterator

import pyarrow as pa

from millrace.engine.dataset import EpisodeWarning
from millrace.engine.dataset.data_checks import (
    WRONG_RATE,
    Found,
    SourceRate,
    check_frame_index,
    check_timestamps,
    median_rate,
)
from millrace.engine.dataset.rows import read_scalars
from millrace.engine.errors import FaultCode, RowsError

FRAME_INDEX, TIMESTAMP = "frame_index", "timestamp"


def row_warnings(table: pa.Table, rate: SourceRate, *, where: str) -> list[EpisodeWarning]:
    """Warnings about timestamps and frame_index, where rows have them.

    Raises:
        RowsError: their timestamps run at another rate than the source's.
    """
    found = [*_clock(table, rate, where), *_numbering(table, where)]
    return [EpisodeWarning(code=code, message=message) for code, message in found]


def _clock(table: pa.Table, rate: SourceRate, where: str) -> Iterator[Found]:
    if TIMESTAMP not in table.column_names:
        return
    try:
        seconds = read_scalars(table, TIMESTAMP, where=where)
    except RowsError as error:
        yield "not-numbers", str(error)
        return
    for code, message in check_timestamps(seconds, rate.fps):
        if code == WRONG_RATE and not rate.is_sure:
            found = median_rate(seconds)
            raise RowsError(
                f"{message} as info.json says. ", rate.advice(found), code=FaultCode.RATE, got=found, expected=rate.fps
            )
        yield code, message


def _numbering(table: pa.Table, where: str) -> Iterator[Found]:
    if FRAME_INDEX in table.column_names:
        yield from check_frame_index(read_scalars(table, FRAME_INDEX, where=where))
