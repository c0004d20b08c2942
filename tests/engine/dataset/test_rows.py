"""Rows are read exactly as they stand in any parquet that LeRobot writes, and written as GR00T reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.engine.dataset.rows import EpisodeRows, read_integers, read_vectors, to_numbers, write_rows
from millrace.engine.errors import RowsError
from millrace.engine.sources.episode import RowRange
from millrace.engine.sources.row_reader import RowReader, read_rows
from support.synthetic import replace_with_lfs_pointer, truncate_file

NUM_ROWS = 20
STATE = (np.arange(NUM_ROWS * 3) / 7).astype(np.float32).reshape(NUM_ROWS, 3)
WHERE = "a.parquet"
LISTS = {
    "fixed": pa.list_(pa.float32(), 3),
    "variable": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float32()),
    "double": pa.list_(pa.float64(), 3),
    "half": pa.list_(pa.float16()),
}


def one_column(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """20 rows in row groups of 7."""
    table = pa.table({"state": pa.array(list(STATE), LISTS["fixed"]), "frame": np.arange(NUM_ROWS), "note": ["a"] * 20})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    return tmp_path / "a.parquet"


def test_a_whole_file_is_read(stored: Path) -> None:
    table = read_rows(RowRange(stored), ["frame", "state"])
    assert table.column_names == ["frame", "state"]
    np.testing.assert_array_equal(read_vectors(table, "state", where=stored), STATE)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, False], pa.bool_(), [[1], [0]]),
        ([[True, False], [True, True]], pa.list_(pa.bool_()), [[1, 0], [1, 1]]),
        ([3, -4], pa.int64(), [[3], [-4]]),
        ([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.float32(), 2), 2), [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ([[[1], [2]], [[3], [4]]], pa.large_list(pa.list_(pa.int8())), [[1, 2], [3, 4]]),
    ],
)
def test_truth_values_whole_numbers_and_lists_of_lists_are_vectors(
    values: Any, kind: pa.DataType, expected: Any
) -> None:
    found = read_vectors(one_column(values, kind), "x", where=WHERE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@given(bounds=st.tuples(st.integers(0, NUM_ROWS), st.integers(0, NUM_ROWS)).filter(lambda pair: pair[0] < pair[1]))
def test_any_range_of_rows_is_those_rows(bounds: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.parquet"
    if not path.exists():
        table = pa.table({"state": pa.array(list(STATE), LISTS["fixed"]), "frame": np.arange(NUM_ROWS)})
        pq.write_table(table, path, row_group_size=6)
    table = read_rows(RowRange(path, *bounds), ["state", "frame"])
    np.testing.assert_array_equal(read_vectors(table, "state", where=path), STATE[slice(*bounds)])
    np.testing.assert_array_equal(read_integers(table, "frame", where=path), np.arange(*bounds))


def test_an_episode_may_go_on_in_the_next_file(stored: Path) -> None:
    ranges = (RowRange(stored, 15, 20), RowRange(stored, 0, 4))
    found = read_vectors(RowReader().read_ranges(ranges, ["state"]), "state", where=WHERE)
    np.testing.assert_array_equal(found, np.concatenate([STATE[15:], STATE[:4]]))


@pytest.mark.parametrize("name", LISTS)
def test_every_kind_of_list_is_a_matrix(name: str) -> None:
    values = STATE.astype(np.float16) if name == "half" else STATE
    found = read_vectors(one_column(list(values), LISTS[name]), "x", where=WHERE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int64(), pa.int32(), pa.uint8()])
def test_one_number_a_row_is_a_matrix_of_one_column(kind: pa.DataType) -> None:
    found = read_vectors(one_column([3, 1, 2], kind), "x", where=WHERE)
    np.testing.assert_array_equal(found, np.array([[3], [1], [2]], np.float32))


@pytest.mark.parametrize("name", LISTS)
def test_a_column_in_pieces_is_read_like_one_in_one(name: str) -> None:
    table = one_column(list(STATE.astype(np.float16)), LISTS[name])
    pieces = pa.concat_tables([table.slice(2, 5), table.slice(11, 4)])
    expected = np.concatenate([STATE[2:7], STATE[11:15]]).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(read_vectors(pieces, "x", where=WHERE), expected)
    np.testing.assert_array_equal(read_vectors(table.slice(3, 4), "x", where=WHERE), STATE[3:7].astype(np.float16))


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ([[1.0, 2.0], None], pa.list_(pa.float32()), "'x' has 1 null rows in a.parquet"),
        ([[1.0, None]], pa.list_(pa.float32()), "'x' has 1 null values in a.parquet"),
        ([[1.0, None]], pa.list_(pa.float32(), 2), "'x' has 1 null values in a.parquet"),
        ([[1.0, 2.0], [1.0]], pa.list_(pa.float32()), r"'x' has rows of \[1, 2\] values in a.parquet"),
        (["left"], pa.string(), "'x' holds string in a.parquet, not numbers"),
        ([[[1.0], [2.0, 3.0]]], pa.list_(pa.list_(pa.float32())), r"rows of \[1, 2\] values"),
        ([[[1.0], None]], pa.list_(pa.list_(pa.float32())), "null rows within its lists"),
        ([[0.0, 1.0], [np.nan, np.inf]], pa.list_(pa.float32()), "2 values that are NaN or infinite.*row 1, value 0"),
        ([1e300], pa.float64(), "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_no_vector_of_finite_numbers_is_refused(values: Any, kind: pa.DataType, told: str) -> None:
    with pytest.raises(RowsError, match=told):
        read_vectors(one_column(values, kind), "x", where=WHERE)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([[1.5, None], [3.0, 4.0]], pa.list_(pa.float32()), np.array([[1.5, np.nan], [3, 4]], np.float32)),
        ([[1.5, None], [3.0, 4.0]], pa.list_(pa.float16(), 2), np.array([[1.5, np.nan], [3, 4]], np.float16)),
        ([7, None, -2], pa.int64(), np.array([7, np.nan, -2])),
        ([True, None, False], pa.bool_(), np.array([1, np.nan, 0])),
        ([7, 8], pa.int32(), np.array([7, 8], np.int32)),
        ([True, False], pa.bool_(), np.array([True, False])),
        ([], pa.list_(pa.float32()), np.zeros((0, 0), np.float32)),
    ],
)
@pytest.mark.parametrize("start", [0, 1])
def test_missing_values_are_nan_where_asked_for(values: Any, kind: pa.DataType, expected: Any, start: int) -> None:
    found = to_numbers(one_column(values, kind).column("x").slice(start), fill_nan=True)
    np.testing.assert_array_equal(found, expected[start:], strict=start == 0)


def test_rows_of_many_lengths_are_an_error_of_one_line() -> None:
    table = one_column([[1.0] * length for length in range(500)], pa.list_(pa.float32()))
    with pytest.raises(RowsError, match=r"has rows of \[0, 1, 2") as raised:
        read_vectors(table, "x", where=WHERE)
    assert len(str(raised.value)) < 300


def test_whole_numbers_may_be_stored_as_floats() -> None:
    assert read_integers(one_column([True, False], pa.bool_()), "x", where=WHERE).tolist() == [1, 0]
    assert read_integers(one_column([0.0, 2.0]), "x", where=WHERE).tolist() == [0, 2]


@pytest.mark.parametrize("values", [[0.5, 1.0], [np.nan], [[1, 2]]])
def test_what_is_no_whole_number_is_refused(values: Any) -> None:
    with pytest.raises(RowsError, match=r"'x' in a\.parquet does not hold one whole number a row"):
        read_integers(one_column(values), "x", where=WHERE)


def test_a_missing_column_lists_those_that_exist(stored: Path) -> None:
    with pytest.raises(RowsError, match=r"a\.parquet has no column 'action'. Known: state, frame, note"):
        read_rows(RowRange(stored), ["state", "action"])


def test_a_file_with_too_few_rows_is_told(stored: Path) -> None:
    with pytest.raises(RowsError, match=r"a\.parquet has 20 rows, expected rows \[10, 30\)"):
        read_rows(RowRange(stored, 10, 30), ["state"])


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (Path.unlink, "no rows at "),
    "empty": (lambda path: truncate_file(path, 0), "is truncated or corrupt"),
    "truncated": (lambda path: truncate_file(path, 0.7), "is truncated or corrupt"),
    "pointer": (replace_with_lfs_pointer, "is a Git LFS pointer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_an_error_of_one_line_that_names_it(stored: Path, fault: str) -> None:
    spoil, told = FAULTS[fault]
    spoil(stored)
    with pytest.raises(RowsError, match=told) as caught:
        read_rows(RowRange(stored), ["state"])
    assert str(stored) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_values_are_told(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    content[4:100] = b"\xff" * 96
    stored.write_bytes(content)
    with pytest.raises(RowsError, match=r"a\.parquet is truncated or corrupt"):
        read_rows(RowRange(stored), ["state"])


@pytest.fixture
def written(tmp_path: Path) -> pa.Table:
    rows = EpisodeRows(
        episode_index=3,
        first_index=100,
        timestamp=(np.arange(NUM_ROWS) / 20).astype(np.float32),
        state=STATE,
        action=-STATE[:, :2],
        task_index=np.repeat([0, 4], NUM_ROWS // 2),
    )
    write_rows(tmp_path / "a.parquet", rows)
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        return file.read()


def test_columns_are_those_of_groot_and_in_their_order(written: pa.Table) -> None:
    assert [(field.name, field.type) for field in written.schema] == [
        ("observation.state", pa.list_(pa.float32(), 3)),
        ("action", pa.list_(pa.float32(), 2)),
        ("timestamp", pa.float32()),
        ("frame_index", pa.int64()),
        ("episode_index", pa.int64()),
        ("index", pa.int64()),
        ("task_index", pa.int64()),
    ]


def test_values_are_written_as_they_are(written: pa.Table) -> None:
    np.testing.assert_array_equal(read_vectors(written, "observation.state", where=WHERE), STATE)
    np.testing.assert_array_equal(read_vectors(written, "action", where=WHERE), -STATE[:, :2])
    np.testing.assert_array_equal(written["timestamp"].to_numpy(), (np.arange(NUM_ROWS) / 20).astype(np.float32))
    assert written["frame_index"].to_pylist() == list(range(NUM_ROWS))
    assert written["index"].to_pylist() == list(range(100, 100 + NUM_ROWS))
    assert set(written["episode_index"].to_pylist()) == {3}
    assert written["task_index"].to_pylist() == [0] * 10 + [4] * 10
