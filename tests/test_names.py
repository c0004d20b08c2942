"""A name says what something is: functions are verbs or nouns; few files, and few public names, have the same."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import REPOSITORY

PACKAGES = ("millrace", "embodiments", "engine", "train", "commands")
# A command has the name of what it calls, and each package its errors.
MAX_FILE_NAMES_TWICE = 7
# Each reader of a LeRobot layout says whether a folder fits it, and two modules are run.
MAX_PUBLIC_NAMES_TWICE = 2
# Releases of GR00T are modules and packages of one kind each: their files and public names are alike on purpose.
RELEASE = re.compile(r"n1d\d(\.py)?")
# A function is a verb with its object, or a noun for what it returns: no participle or particle alone, none at an end.
RIDDLE = re.compile(r"(as|in|without)_.*|.*_(by|with)|[^_]+(ed|en|ing)|alone|apart|begun|made|own|some|told|turn")
BANNED = {"anew", "death", "deaths", "killer", "picture", "pictures", "told"}
ALLOWED = {"open"}


def modules() -> Iterator[Path]:
    return (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def is_release(path: Path) -> bool:
    return any(map(RELEASE.fullmatch, path.relative_to(REPOSITORY).parts))


def modules_of_all_releases() -> Iterator[Path]:
    return (path for path in modules() if not is_release(path))


def public_names(path: Path) -> Iterator[str]:
    """Functions and classes of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def function_names(path: Path) -> Iterator[str]:
    """Public functions and methods of a module, without properties."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for part in node.body if isinstance(node, ast.Module | ast.ClassDef) else ():
            is_property = any("property" in ast.unparse(mark) for mark in getattr(part, "decorator_list", ()))
            if isinstance(part, ast.FunctionDef) and not (part.name.startswith("_") or is_property):
                yield part.name


def is_riddle(name: str) -> bool:
    return bool(BANNED & set(name.split("_")) or (RIDDLE.fullmatch(name) and name not in ALLOWED))


def twice(names: Iterator[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_few_files_have_the_same_name() -> None:
    found = twice(path.name for path in modules_of_all_releases() if path.name != "__init__.py")
    assert len(found) <= MAX_FILE_NAMES_TWICE, found


def test_few_public_names_are_defined_twice() -> None:
    found = twice(name for path in modules_of_all_releases() for name in public_names(path))
    assert len(found) <= MAX_PUBLIC_NAMES_TWICE, found


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_functions_are_verbs_or_nouns(path: Path) -> None:
    assert not {name for name in function_names(path) if is_riddle(name)}


@pytest.mark.parametrize("name", ["finished", "told", "made_by", "as_found", "some", "picture_size", "without_failed"])
def test_a_riddle_is_found(name: str) -> None:
    assert is_riddle(name)


@pytest.mark.parametrize("name", ["read_frames", "is_finished", "frame_indices", "why_changed", "select_episodes"])
def test_verbs_and_nouns_pass(name: str) -> None:
    assert not is_riddle(name)
