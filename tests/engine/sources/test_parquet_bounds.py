"""Parquet files whose numbers lie: no reader aborts, takes gigabytes or minutes; what is sound is read as ever."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import REPOSITORY
from fuzzing.footer_changes import change_footer
from millrace.engine.errors import FaultCode, RowsError
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.footer import read_footer, read_num_rows
from millrace.engine.sources.parquet import episode_ranges
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.sources.row_stream import RowStream
from millrace.engine.sources.thrift import Malformed

TABLE = pa.table(
    {
        "state": [[0.5 * row, 1.0] for row in range(50)],
        "episode_index": [row // 20 for row in range(50)],
        "task": ["pick" if row % 2 else None for row in range(50)],
        "tasks": [["a", "b"][: row % 3] for row in range(50)],
        "picture": [{"bytes": bytes([row]) * 40, "path": "x"} for row in range(50)],
        "number": pa.array(range(50), pa.int32()),
    }
)
LAYOUTS: dict[str, dict[str, object]] = {
    "plain": {"use_dictionary": False, "compression": "none"},
    "dictionary": {"compression": "zstd"},
    "v2 pages": {"data_page_version": "2.0", "compression": "gzip"},
    "small pages": {"data_page_size": 64, "row_group_size": 20},
    "deltas": {
        "use_dictionary": False,
        "column_encoding": {"number": "DELTA_BINARY_PACKED", "task": "DELTA_BYTE_ARRAY"},
    },
}


def write(path: Path, layout: str = "dictionary") -> Path:
    pq.write_table(TABLE, path, **LAYOUTS[layout])
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_is_what_was_written(layout: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", layout)
    with CheckedParquet(path) as file:
        assert file.read(file.all_groups, TABLE.column_names).equals(TABLE)
        assert file.read_lists(TABLE.column_names) == TABLE.to_pydict()
        assert file.read_head(["task", "state"]) == [{"task": None, "state": [0.0, 1.0]}]
        stream = RowStream(file, ["task", "number"], batch_rows=7)
        for start, stop in [(0, 5), (5, 30), (31, 50), (3, 4), (50 - 1, 50)]:
            assert stream.read(start, stop).to_pylist() == TABLE.select(["task", "number"]).to_pylist()[start:stop]
    with path.open("rb") as raw:
        assert read_num_rows(raw) == 50
    found = [(index, rows.start, rows.stop) for index, rows in episode_ranges(path)]
    assert found == [(0, 0, 20), (1, 20, 40), (2, 40, 50)]


def test_row_groups_too_large_to_be_held_are_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet")
    monkeypatch.setattr("millrace.engine.sources.checked_parquet.MAX_READ_BYTES", 100)
    reader = RowReader()
    for start, stop in [(10, 20), (20, 30), (5, 7), (0, 50)]:
        assert reader.read_ranges([RowRange(path, start, stop)], ["state"]).equals(TABLE.select(["state"])[start:stop])


def test_a_read_may_take_more_in_proportion_to_its_file_but_not_to_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.engine.sources.checked_parquet.MAX_READ_BYTES", 100)
    path = tmp_path / "a.parquet"
    for column, options, is_read in [
        (np.zeros((300, 100)), {}, False),
        (np.zeros((300, 1000)), {"compression": "none", "use_dictionary": False}, True),  # what is advised
        (np.random.default_rng(0).random((300, 1000)), {"compression": "zstd"}, True),
    ]:
        table = pa.table({"state": column.tolist()})
        pq.write_table(table, path, **options)
        if is_read:
            assert RowReader().read_ranges([RowRange(path)], ["state"]).equals(table)
            continue
        with pytest.raises(RowsError, match=r"is too large: 'state' take \d+ .* write the file again with") as caught:
            RowReader().read_ranges([RowRange(path)], ["state"])
        assert caught.value.code == FaultCode.TOO_LARGE


def test_pictures_that_are_all_alike_are_read_from_one_page(tmp_path: Path) -> None:
    path, picture = tmp_path / "a.parquet", random.Random(0).randbytes(300_000)
    table = pa.table({"top": [{"bytes": picture, "path": None}] * 80})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 1 << 20
    with CheckedParquet(path) as file:
        parts = RowStream(file, ["top"], batch_rows=16).read_batches(0, 80)
        assert [len(part) for part in parts] == [16] * 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_number_of_a_footer_ends_the_process(layout: str, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.parquet", layout).read_bytes()
    path, chance = tmp_path / "a.parquet", random.Random(1)
    num_refused = 0
    for _ in range(100):
        path.write_bytes(change_footer(whole, chance))
        try:
            with CheckedParquet(path) as file:
                file.read(file.all_groups, file.names)
        except DAMAGE:
            num_refused += 1
    assert 20 < num_refused < 100


@pytest.mark.parametrize("cut", [0, 3, 7, 11, 12, 20, 200])
def test_a_file_cut_short_is_no_parquet(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:cut])
    with path.open("rb") as file, pytest.raises(Malformed):
        read_footer(file)


# Each reader of the engine on each file; all in one process, whose memory is that of the worst.
READ = """
import sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from millrace.embodiments.errors import MillraceError
from millrace.engine.sources.row_reader import RowReader
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.parquet import episode_ranges, read_columns

folder = Path(sys.argv[1])
def attempt(read):
    try:
        read()
    except MillraceError as error:
        print(error)

for name in ("texts", "lists", "numbers", "packed"):
    path = folder / name
    attempt(lambda: read_columns(path, ["task_index"], optional=["task"]))
    attempt(lambda: RowReader().read_ranges([RowRange(path)], ["task_index"], optional=["task"]))
    attempt(lambda: [*episode_ranges(path)])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write_bombs(folder: Path) -> None:
    """A few kilobytes each, which would take gigabytes."""
    zeros = pa.array([0] * 2000, pa.int32())
    texts = pa.DictionaryArray.from_arrays(zeros, ["x" * 1_000_000])
    lists = pa.ListArray.from_arrays(pa.array(range(2001), pa.int32()), texts)
    for name, column in [("texts", texts), ("lists", lists)]:
        columns = {"task_index": range(2000), "episode_index": zeros, "task": column}
        pq.write_table(pa.table(columns), folder / name, store_schema=False)
    numbers = pa.repeat(pa.scalar(0, pa.int64()), 26 << 20)
    table = pa.table({"task_index": numbers, "episode_index": numbers})
    pq.write_table(table, folder / "numbers", row_group_size=len(numbers))
    table = pa.table({"task_index": [0], "episode_index": [0], "task": ["x" * 100_000_000]})
    pq.write_table(table, folder / "packed", compression="zstd", use_dictionary=False, write_statistics=False)


def test_small_files_take_little_memory(tmp_path: Path) -> None:
    write_bombs(tmp_path)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 1 << 20
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    *said, kilobytes = done.stdout.splitlines()
    assert int(kilobytes) < 400_000, said
    assert "claims to unpack to 100000010" in done.stdout
    assert done.stdout.count("bytes in memory") == 4  # texts and lists as rows, lists as metadata, numbers as rows
