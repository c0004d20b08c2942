"""Rows with other numbers are, byte for byte, the rows that would be written with these."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.engine.dataset.changed_rows import change_rows
from millrace.engine.dataset.record import hash_file
from millrace.engine.dataset.rows import EpisodeRows, write_rows

EVENT = pa.struct({"role": pa.string(), "content": pa.string(), "frames": pa.list_(pa.int64())})


def make_rows(num_rows: int, *, episode: int, first: int, tasks: list[int]) -> EpisodeRows:
    """Rows with a column of every kind that an output may have."""
    numbers = np.random.default_rng(num_rows).normal(size=(num_rows, 3)).astype(np.float32)
    events = [[{"role": "user", "content": None, "frames": [row]}] if row % 3 else [] for row in range(num_rows)]
    return EpisodeRows(
        episode_index=episode,
        first_index=first,
        timestamp=np.arange(num_rows, dtype=np.float32),
        state=numbers,
        action=numbers[:, :1],
        task_index=np.array([tasks[row % len(tasks)] for row in range(num_rows)], dtype=np.int64),
        others={"done": numbers[:, 0] > 0, "flags": numbers > 0, "wrench": numbers.astype(np.float64)},
        texts={"phase": pa.array(["a"] * num_rows), "events": pa.array(events, pa.list_(EVENT))},
    )


@given(
    num_rows=st.integers(1, 40),
    numbers=st.tuples(st.integers(0, 2**40), st.integers(0, 2**60)),
    renamed=st.dictionaries(st.integers(0, 9), st.integers(0, 10**6), min_size=1),
)
def test_the_bytes_are_those_of_rows_written_with_the_numbers(
    num_rows: int, numbers: tuple[int, int], renamed: dict[int, int], tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    episode, first = numbers
    before, now, due = (folder / name for name in ("before", "now", "due"))
    write_rows(before, make_rows(num_rows, episode=7, first=300, tasks=list(renamed)))
    write_rows(due, make_rows(num_rows, episode=episode, first=first, tasks=list(renamed.values())))
    changed = change_rows(
        before, now, sha256=hash_file(before), episode_index=episode, first_index=first, tasks=renamed
    )
    assert now.read_bytes() == due.read_bytes()
    assert changed is not None
    assert ("index" in changed, "episode_index" in changed) == (first != 300, episode != 7)
    assert all(len(values) == num_rows for values in changed.values())


@pytest.mark.parametrize("damage", [b"", b"no parquet"])
def test_a_file_of_other_content_is_not_read(damage: bytes, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    write_rows(rows, make_rows(3, episode=0, first=0, tasks=[0]))
    digest = hash_file(rows)
    rows.write_bytes(damage)
    numbers = {"episode_index": 1, "first_index": 1, "tasks": {0: 0}}
    assert change_rows(rows, tmp_path / "now", sha256=digest, **numbers) is None  # type: ignore[arg-type]
    assert not (tmp_path / "now").exists()
