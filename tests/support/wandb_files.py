"""What wandb has written in its offline mode, read back by its own reader."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_starts(folder: Path) -> list[list[Any]]:
    """The records of each start of a run, in order."""
    return [list(_records(file)) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime)]


def rows(records: list[Any]) -> list[dict[str, Any]]:
    """What was logged."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


def config(records: list[Any]) -> dict[str, Any]:
    """The config that the last of the records leaves."""
    values: dict[str, Any] = {}
    for record in records:
        kind = record.WhichOneof("record_type")
        update = record.run.config.update if kind == "run" else record.config.update if kind == "config" else ()
        values |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in update}
    return values


def run_ids(starts: list[list[Any]]) -> set[str]:
    """The ids under which they were logged."""
    return {one.run.run_id for start in starts for one in start if one.WhichOneof("record_type") == "run"}


def exit_codes(records: list[Any]) -> list[int]:
    """How they ended; none that was not finished."""
    return [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]


def _records(file: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(file))
    while (data := store.scan_data()) is not None:
        record = Record()
        record.ParseFromString(data)
        yield record
