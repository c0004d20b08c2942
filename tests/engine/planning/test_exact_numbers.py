"""Numbers that users write are read exactly or refused, in bounded time, wherever a setting takes one."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.cli import main
from millrace.engine.errors import RecipeError
from millrace.engine.fps import MAX_CHARACTERS, exact_number, show_value
from millrace.engine.planning.recipe import Recipe

# Where a setting takes a number, with the text or the value.
SETTINGS: dict[str, Any] = {
    "fps": lambda value: {"fps": value},
    "source_fps": lambda value: {"source_fps": value},
    "holdout": lambda value: {"holdout": value},
    "trim_idle.keep": lambda value: {"trim_idle": {"keep": value}},
    "drop_pauses": lambda value: {"drop_pauses": value},
    "drop_pauses.longer_than": lambda value: {"drop_pauses": {"longer_than": value}},
    "drop_pauses.keep": lambda value: {"drop_pauses": {"longer_than": 9, "keep": value}},
    "min_length": lambda value: {"filter": {"min_length": value}},
    "max_length": lambda value: {"filter": {"max_length": value}},
    "max_idle": lambda value: {"filter": {"max_idle": value}},
    "min_motion": lambda value: {"filter": {"min_motion": value}},
    "max_jerk": lambda value: {"filter": {"max_jerk": {"left_arm": value}}},
    "still": lambda value: {"still": {"left_arm": value}},
    "align_action": lambda value: {"align_action": value},
}
# As exact fractions some of these have a thousand million digits. All lie beyond what any setting takes.
ABSURD = ["1e999999999", "-1e999999999", "1.0e999999999", f"{'9' * 5000}.0", f"1/{'9' * 5000}", "-1.5", 10**5000]
DIGITS = st.text("0123456789", max_size=8)
WRITTEN = st.tuples(
    st.sampled_from(["", "-", "+", " "]),
    st.integers(0, 5000).flatmap(lambda length: st.sampled_from(["", "1" * length, "0" * length + "7"])) | DIGITS,
    st.sampled_from(["", ".", "/", "/0", "_"]),
    DIGITS,
    st.sampled_from(["", "e", "E-"]),
    st.sampled_from(["", "3", "400", "999999999", "-999999999"]),
    st.sampled_from(["", "s", "ms", "%", " "]),
).map("".join)


@given(value=WRITTEN | st.floats() | st.integers() | st.fractions())
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_number_is_read_or_refused(setting: str, value: object) -> None:
    """Whatever it is, that takes no time and no other error."""
    with suppress(RecipeError):
        Recipe.single(Path("source"), **SETTINGS[setting](value)).model_dump_json()


@pytest.mark.parametrize("value", ABSURD, ids=range(len(ABSURD)))
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_no_setting_takes_is_refused(setting: str, value: object) -> None:
    if (setting, value) == ("align_action", "-1.5"):
        value = "1.5"
    with pytest.raises(RecipeError):
        Recipe.single(Path("source"), **SETTINGS[setting](value))


@given(value=st.fractions(max_denominator=10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_what_is_short_is_exact(value: Fraction | float) -> None:
    due = Fraction(str(value))
    if len(str(value)) <= MAX_CHARACTERS:
        assert exact_number(str(value)) == exact_number(value) == due


def test_a_refused_value_is_shown_in_part() -> None:
    assert len(show_value("9" * 10**6)) < 100
    assert show_value(10**5000).startswith(("a number of thousands of digits", "1000"))


@pytest.mark.parametrize("flags", [["--max-idle", "1e999999999"], ["--idle-keep", "1e999999999s", "--trim-idle"]])
def test_the_command_refuses_them(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path), str(tmp_path / "out"), "--robot", "aloha", *flags]) == 2
    assert "takes a" in " ".join(capsys.readouterr().err.split())
