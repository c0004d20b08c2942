"""The dataset card: what sources say is text in it, never Markdown or HTML."""

import pytest

from millrace.engine.output.card import _cell, _code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Pick up the cube.", "`Pick up the cube.`"),
        ("<img src=x onerror=alert(1)>", "`<img src=x onerror=alert(1)>`"),
        ("[click](javascript:alert(1))", "`[click](javascript:alert(1))`"),
        ("a\n\n# b", "`a # b`"),
        ("a `b` c", "`` a `b` c ``"),
        ("``", "``` `` ```"),
        ("\x1b[2J\u2028\ud800", "`\\x1b[2J \\ud800`"),
        ("", "`  `"),
    ],
)
def test_a_text_is_a_code_span_of_one_line(text: str, code: str) -> None:
    assert _code(text) == code


def test_a_pipe_ends_no_cell_of_a_table() -> None:
    assert _cell("a|b") == "`a\\|b`"
