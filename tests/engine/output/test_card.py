"""The dataset card: what sources say is text in it, never Markdown or HTML."""

import pytest

from millrace.engine.text import code_cell, code_span


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
    assert code_span(text) == code


def test_a_pipe_ends_no_cell_of_a_table() -> None:
    assert code_cell("a|b") == "`a\\|b`"
