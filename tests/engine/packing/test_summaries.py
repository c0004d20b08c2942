"""Statistics of many columns at once are those of each alone."""

import numpy as np
import pytest

from millrace.engine.packing.summaries import NAMES, stack_columns, summarize_column, summarize_values


@pytest.mark.parametrize("num_rows", [1, 2, 7, 400])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_columns_at_once_are_as_each_alone(num_rows: int, dtype: str) -> None:
    values = (np.random.default_rng(0).normal(size=(num_rows, 5)) * 100).astype(dtype)
    before = values.copy()
    found, due = summarize_values(values), stack_columns([summarize_column(column.copy()) for column in values.T])
    assert np.array_equal(values, before)
    for name in NAMES:
        np.testing.assert_allclose(found[name], due[name], rtol=1e-12, atol=1e-12)


def test_one_number_a_row_is_one_column() -> None:
    values = np.arange(9)
    found = summarize_values(values)
    assert (found["min"], found["max"], found["q50"], found["count"]) == ([0], [8], [4.0], [9])
    assert np.array_equal(values, np.arange(9))
