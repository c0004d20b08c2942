"""A name says where something stands: few files, and few public names, have the same."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from conftest import REPOSITORY

PACKAGES = ("millrace", "embodiments", "engine", "train", "commands")
# A command has the name of what it calls, and each package its errors.
MAX_FILE_NAMES_TWICE = 7
# Each reader of a LeRobot layout says whether a folder fits it, and two modules are run.
MAX_PUBLIC_NAMES_TWICE = 2


def modules() -> Iterator[Path]:
    return (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def public_names(path: Path) -> Iterator[str]:
    """Functions and classes of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def twice(names: Iterator[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_few_files_have_the_same_name() -> None:
    found = twice(path.name for path in modules() if path.name != "__init__.py")
    assert len(found) <= MAX_FILE_NAMES_TWICE, found


def test_few_public_names_are_defined_twice() -> None:
    found = twice(name for path in modules() for name in public_names(path))
    assert len(found) <= MAX_PUBLIC_NAMES_TWICE, found
