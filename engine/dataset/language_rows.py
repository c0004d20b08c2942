"""LeRobot 0.6's language columns: lists of what is said in a row, as JSON texts where a layout has no such lists.

A row of language_persistent lists all that is said in the episode, with its times; one of language_events what is said
at its frame. Source: LeRobot 0.6.1, datasets/language.py.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

PERSISTENT, EVENTS = "language_persistent", "language_events"
LANGUAGE = (PERSISTENT, EVENTS)
# What info.json calls their type.
DTYPE = "language"
# Of each thing that is said; null stands for what it lacks.
FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("role", "content", "style", "camera"), (str,)),
    "timestamp": (float, int),
    "tool_calls": (list,),
}
# Rows that are Python's values at a time.
SLICE_ROWS = 256
# Of float32, in which v3.0 has timestamps.
LARGEST_SECONDS = float(np.finfo(np.float32).max)
# Characters of a wrong value in an error.
MAX_SHOWN = 100

Said = dict[str, Any]


def read_said(array: pa.Array) -> Iterator[list[Said]]:
    """What each row says; array: lists of structures, or JSON texts of such lists; null is nothing said.

    Raises:
        ValueError: a row holds something else.
    """
    is_text = pa.types.is_string(array.type)
    for start in range(0, len(array), SLICE_ROWS):
        for value in array.slice(start, SLICE_ROWS).to_pylist():
            yield _check(json.loads(value) if is_text and value is not None else value)


def _check(said: object) -> list[Said]:
    if said is not None and not (isinstance(said, list) and all(isinstance(one, dict) for one in said)):
        raise ValueError("a row is no list of what is said")
    for one in said or []:
        for name, value in one.items():
            if value is not None and not isinstance(value, FIELDS.get(name, ())):
                raise ValueError(f"{name} is {value!r}"[:MAX_SHOWN])
        if not abs(one.get("timestamp") or 0) <= LARGEST_SECONDS:  # nor is NaN
            raise ValueError("a timestamp is not finite in float32")
    return said or []


def write_said(rows: Iterable[list[Said]]) -> Iterator[str]:
    """Rows as JSON texts; equal texts are in memory once."""
    known: dict[str, str] = {}
    texts = (json.dumps(said, ensure_ascii=False) for said in rows)
    return (known.setdefault(text, text) for text in texts)


def structure(name: str) -> pa.DataType:
    """The type of a language column; calls of tools are JSON texts, which LeRobot reads as what they say."""
    text = pa.string()
    fields = [("role", text), ("content", text), ("style", text)]
    fields += [("timestamp", pa.float32())] if name == PERSISTENT else []
    fields += [("camera", text), ("tool_calls", pa.list_(text))]
    return pa.list_(pa.struct(fields))


def to_structures(table: pa.Table) -> pa.Table:
    """Rows of LeRobot v2.1 as v3.0 has them: language columns as lists of structures."""
    for name in LANGUAGE:
        if name in table.column_names and pa.types.is_string(table.schema.field(name).type):
            encoded = table.column(name).combine_chunks().dictionary_encode()  # an episode's rows are mostly equal
            rows = [list(map(_pack_calls, said)) for said in read_said(encoded.dictionary)]
            lists = pa.array(rows, structure(name)).take(encoded.indices)
            table = table.set_column(table.column_names.index(name), name, lists)
    return table


def _pack_calls(said: Said) -> Said:
    calls = said.get("tool_calls")
    packed = None if calls is None else [call if isinstance(call, str) else json.dumps(call) for call in calls]
    return {**said, "tool_calls": packed}
