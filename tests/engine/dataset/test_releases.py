"""What is one GR00T release's stands in its module and in train/groot/ alone, and is whole."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from conftest import REPOSITORY
from millrace.engine.dataset.releases import CURRENT, DEFAULT_TAG, EmbodimentTag, VideoBackend

PRODUCT = ("millrace", "commands", "embodiments", "engine", "train")
# The last one writes the title of a file of every dataset, and its package imports nothing of the engine.
OWNERS = ("engine/dataset/releases/*.py", "train/groot/*.py", "embodiments/modality.py")
RELEASE = re.compile(r"\bN1\.\d|n1d\d", re.IGNORECASE)
OTHERS = [
    path
    for room in PRODUCT
    for path in sorted((REPOSITORY / room).rglob("*.py"))
    if not any(path.relative_to(REPOSITORY).match(owner) for owner in OWNERS)
]


def constants(path: Path) -> Iterator[ast.Constant]:
    """Every constant of a module but docstrings, those of attributes among them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_other_module_names_a_release_or_its_tags(path: Path) -> None:
    tags = {*CURRENT.tag_names, *(tag.value for tag in CURRENT.tags)}
    found = [
        f"line {node.lineno}: {node.value!r}"
        for node in constants(path)
        if isinstance(node.value, str) and (RELEASE.search(node.value) or node.value in tags)
    ]
    assert not found, "say CURRENT.name, or take the value from the release"


@pytest.mark.parametrize("room", ["engine/dataset", "engine/validate", "train"])
def test_no_other_module_holds_its_limits(room: str) -> None:
    limits = {*CURRENT.limits.max_dims.values(), CURRENT.limits.max_horizon, CURRENT.shard_size}
    paths = [path for path in OTHERS if path.is_relative_to(REPOSITORY / room)]
    assert paths
    found = [(path.name, node.lineno) for path in paths for node in constants(path) if node.value in limits]
    assert not found


def test_the_names_that_command_lines_take_are_those_of_the_release() -> None:
    assert get_args(EmbodimentTag) == CURRENT.tag_names
    assert get_args(VideoBackend) == tuple(CURRENT.unread_codecs)
    assert DEFAULT_TAG in CURRENT.tag_names
    assert not CURRENT.has_config(DEFAULT_TAG)


def test_a_tag_has_its_value_in_either_case() -> None:
    assert CURRENT.tag_value("UNITREE_G1") == CURRENT.tag_value("unitree_g1") == "unitree_g1"
    assert CURRENT.tag_value("ALOHA") == "aloha"
