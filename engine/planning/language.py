"""Instructions in a column of a source's own, such as annotation.language.action_text, in place of task_index."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from millrace.embodiments import MillraceError, unknown_name
from millrace.engine.errors import FaultCode, RowsError, fault_code
from millrace.engine.sources import RowReader, SourceDataset, SourceEpisode, SourceFault

TEXT = "string"


def is_text_column(source: SourceDataset, column: str) -> bool:
    """Whether rows hold the instruction as text, not as its number among the dataset's tasks.

    Raises:
        UnknownName: the source has no such column.
    """
    known = [name for name, feature in source.features.items() if not feature.is_camera]
    if column not in known:
        raise unknown_name(column, f"column of {source.address}", known)
    return source.features[column].dtype == TEXT


def read_instructions(
    source: SourceDataset, episodes: Sequence[SourceEpisode], column: str
) -> tuple[SourceDataset, list[SourceEpisode]]:
    """Read the rows and return the source, and its episodes, with the texts of a column as tasks.

    An episode whose rows cannot be read gets a fault in place of its tasks.
    """
    reader, numbers = RowReader(), dict[str, int]()
    found = []
    for episode in episodes:
        try:
            with episode.holding_files():
                episode.fetch(())
                table = reader.read(episode, [column])[1]
            texts = dict.fromkeys(row_instructions(table, column))
        except MillraceError as error:
            faults = (*episode.faults, SourceFault(fault_code(error), error.message, facts=error.facts))
            found.append(replace(episode, tasks=("unknown",), faults=faults))
            continue
        for text in texts:
            numbers.setdefault(text, len(numbers))
        found.append(replace(episode, tasks=tuple(texts)))
    return replace(source, tasks={number: text for text, number in numbers.items()}), found


def row_instructions(table: pa.Table, column: str) -> list[str]:
    """The instruction of each row.

    Raises:
        RowsError: a row holds no text, or an empty one.
    """
    texts: list[str] = table.column(column).to_pylist()
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            message = f"column '{column}' holds no instruction in row {row}, but {text!r}"
            raise RowsError(message, code=FaultCode.TASK, got=text, expected="a text")
    return texts
