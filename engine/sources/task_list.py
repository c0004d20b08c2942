"""The list of tasks of a dataset: tasks.jsonl (v2) or tasks.parquet (v3), and likewise that of its subtasks.

A wrong line costs its own task only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from millrace.engine.errors import DatasetError
from millrace.engine.sources.containment import check_own_path
from millrace.engine.sources.json_text import parse_json, validate_as
from millrace.engine.sources.lerobot_metadata import TaskLine, read_source_lines, unwrap_single
from millrace.engine.sources.parquet import read_columns, read_schema

Noun = Literal["task", "subtask"]
# How pandas names an index that has no name.
UNNAMED_INDEX = "__index_level_0__"


@dataclass
class TaskList:
    """texts: by task index. problems: lines that are malformed, or that give a task several texts."""

    texts: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _places: dict[int, list[str]] = field(default_factory=dict)

    def add(self, line: TaskLine, place: str) -> None:
        """Add a line; an equal text is added once."""
        places = self._places.setdefault(line.task_index, [])
        if not places:
            self.texts[line.task_index] = line.task
        elif self.texts.get(line.task_index) != line.task:
            self.texts.pop(line.task_index, None)
            self.problems.append(f"{places[0]} and {place} give task {line.task_index} different texts")
        places.append(place)


def read_subtasks(root: Path, bounds: Path) -> dict[int, str]:
    """The texts of the column subtask_index by number, as LeRobot 0.4 keeps them; empty where nothing sound tells them.

    bounds: the folder that the dataset's files must lie in.
    """
    try:
        table = read_task_table(check_own_path(root / "meta/subtasks.parquet", bounds), "subtask")
        return table.texts or read_task_lines(check_own_path(root / "meta/subtasks.jsonl", bounds), "subtask").texts
    except DatasetError:  # only the column subtask_index needs it, which is not carried then
        return {}


def read_task_lines(path: Path, noun: Noun = "task") -> TaskList:
    """tasks.jsonl; empty where there is none.

    Raises:
        DatasetError: the file cannot be read.
    """
    tasks = TaskList()
    for place, text in read_source_lines(path) if path.is_file() else ():
        try:
            values = parse_json(text, place)
            if noun == "subtask" and isinstance(values, dict):
                values = {name.removeprefix("sub"): value for name, value in values.items()}
            tasks.add(validate_as(values, TaskLine, place), place)
        except DatasetError as error:
            tasks.problems.append(str(error))
    return tasks


def read_task_table(path: Path, noun: Noun = "task") -> TaskList:
    """tasks.parquet, with its texts in a column or in whichever index pandas wrote; empty where there is none.

    Raises:
        DatasetError: the file cannot be read, or no column holds texts.
    """
    tasks = TaskList()
    if not path.is_file():
        return tasks
    for row, (index, text) in enumerate(_pairs(path, noun)):
        place = f"{path}, row {row}"
        try:
            tasks.add(validate_as({"task_index": index, "task": text}, TaskLine, place), place)
        except DatasetError as error:
            tasks.problems.append(str(error))
    return tasks


def _pairs(path: Path, noun: Noun) -> Iterable[tuple[Any, Any]]:
    """Task index and text of each row; rows without a number are numbered in their order."""
    schema = read_schema(path)
    text = _column(schema, (noun, UNNAMED_INDEX), _is_text)
    if text is None:
        known = ", ".join(schema.names)
        message = f"{path} names no tasks: expected text in column '{noun}' or in its index. Known: {known}"
        raise DatasetError(message, file=path, expected=noun, known=tuple(schema.names))
    is_named = schema.names.count(f"{noun}_index") == 1
    index = f"{noun}_index" if is_named else _column(schema, (UNNAMED_INDEX,), pa.types.is_integer)
    columns = read_columns(path, [name for name in (index, text) if name is not None])
    texts = columns[text]
    return zip(range(len(texts)) if index is None else map(unwrap_single, columns[index]), texts, strict=True)


def _column(schema: pa.Schema, preferred: Iterable[str], is_kind: Any) -> str | None:
    """The column of a kind: one of the preferred names, or the only one."""
    found = [name for name, kind in zip(schema.names, schema.types, strict=True) if is_kind(kind)]
    unique = [name for name in found if schema.names.count(name) == 1]
    named = next((name for name in preferred if name in unique), None)
    return named or (unique[0] if len(found) == len(unique) == 1 else None)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))
