"""Docstrings, messages, comments and pages use plain words: no riddles, no archaisms."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import REPOSITORY

PRODUCT = ("millrace", "commands", "embodiments", "engine", "train")
PAGES = (".", "docs", "examples")
RIDDLE = re.compile(r"Of |What is told")
# Whole words, so that "recommend", "amend" and "maybe it" pass.
ARCHAISM = re.compile(r"\b(anew|mend(s|ed|ing)?|be it|told of|begun with)\b", re.IGNORECASE)


def product_files() -> list[Path]:
    return sorted(path for room in PRODUCT for path in (REPOSITORY / room).rglob("*.py"))


def texts(source: str) -> Iterator[tuple[int, str]]:
    """The strings and comments of a module, each on one line, with the line where it starts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, one_line(node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        is_documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if is_documented and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def one_line(text: str) -> str:
    return " ".join(text.split())


def archaisms(source: str) -> list[tuple[int, str]]:
    return [(line, text) for line, text in texts(source) if ARCHAISM.search(text)]


def riddles(source: str) -> list[tuple[int, str]]:
    return [(line, text) for line, text in docstrings(source) if RIDDLE.match(text)]


def test_no_docstring_of_the_product_is_a_riddle() -> None:
    assert {path: found for path in product_files() if (found := riddles(path.read_text(encoding="utf-8")))} == {}


def test_no_text_of_the_product_is_archaic() -> None:
    assert {path: found for path in product_files() if (found := archaisms(path.read_text(encoding="utf-8")))} == {}


def test_no_page_is_archaic() -> None:
    pages = {path: path.read_text(encoding="utf-8") for room in PAGES for path in (REPOSITORY / room).glob("*.md")}
    assert len(pages) > 8
    assert {path: found[0] for path, text in pages.items() if (found := ARCHAISM.search(one_line(text)))} == {}


@pytest.mark.parametrize(
    "source",
    [
        '"""Encoded anew."""',
        "x = f'{y} was begun with {z}'",
        "x = 1  # be it broken",
        '"""It was begun\nwith a map."""',
    ],
)
def test_an_archaism_is_found(source: str) -> None:
    assert archaisms(source)


@pytest.mark.parametrize("source", ['"""We recommend to amend it."""', "x = 'maybe it is'", "mend = 1"])
def test_other_words_and_names_pass(source: str) -> None:
    assert not archaisms(source)


def test_a_riddle_is_found() -> None:
    assert riddles('def rate():\n    """Of its rows."""') == [(2, "Of its rows.")]
    assert not riddles('"""Offsets of rows."""')
