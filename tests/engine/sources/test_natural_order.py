"""Names with numbers are sorted by the numbers' values."""

from millrace.engine.sources.natural_order import natural_key


def test_numbers_in_names_are_sorted_by_value() -> None:
    names = ["demo_10", "demo_2", "10/a", "9/b", "demo", "demo_2b", f"demo_{'9' * 5000}", "demo_02"]
    expected = ["9/b", "10/a", "demo", "demo_02", "demo_2", "demo_2b", "demo_10", f"demo_{'9' * 5000}"]
    assert sorted(names, key=natural_key) == expected
