"""What is one GR00T release's stands in its module and in train/groot/ alone, and is whole."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from conftest import REPOSITORY
from millrace.embodiments import UnknownName
from millrace.engine.dataset.releases import (
    DEFAULT_TAG,
    RELEASES,
    GrootChoice,
    Release,
    ReleaseChoice,
    VideoBackend,
    find_release,
    release_of_model,
)

PRODUCT = ("millrace", "commands", "embodiments", "engine", "train")
# The last one writes the title of a file of every dataset, and its package imports nothing of the engine.
OWNERS = ("engine/dataset/releases/*.py", "train/groot/*.py", "train/groot/*/*.py", "embodiments/modality.py")
# Fields of a release that name it.
NAMES = ("name", "choice", "package", "model_type")
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
    tags = {text for release in RELEASES for tag in release.tags for text in (tag.name, tag.value)}
    found = [
        f"line {node.lineno}: {node.value!r}"
        for node in constants(path)
        if isinstance(node.value, str) and (RELEASE.search(node.value) or node.value in tags)
    ]
    assert not found, "say release.name, or take the value from the release"


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_other_module_asks_which_release_it_is(path: Path) -> None:
    """What differs is a field of Release: none is imported by its name, and no name of one is compared."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name for node in ast.walk(tree) for name in (getattr(node, "id", ""), getattr(node, "module", "") or "")}
    assert not {name for name in names if RELEASE.search(name)}
    compared = [part for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in ast.walk(node)]
    asked = [ast.unparse(part) for part in compared if isinstance(part, ast.Attribute) and part.attr in NAMES]
    assert not [text for text in asked if "release" in text.lower()]


@pytest.mark.parametrize("room", ["engine/dataset", "engine/validate", "train"])
def test_no_other_module_holds_its_limits(room: str) -> None:
    limits = {limit for release in RELEASES for limit in (*release.limits.max_dims.values(), release.shard_size)}
    limits |= {release.limits.max_horizon for release in RELEASES}
    paths = [path for path in OTHERS if path.is_relative_to(REPOSITORY / room)]
    assert paths
    found = [(path.name, node.lineno) for path in paths for node in constants(path) if node.value in limits]
    assert not found


def test_the_names_that_command_lines_take_are_those_of_the_releases() -> None:
    assert get_args(ReleaseChoice) == tuple(release.choice for release in RELEASES)
    assert get_args(GrootChoice) == ("auto", *get_args(ReleaseChoice))
    assert len({tuple(release.unread_codecs) for release in RELEASES}) == 1


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.choice)
def test_a_release_is_whole(release: Release) -> None:
    assert get_args(VideoBackend) == tuple(release.unread_codecs)
    assert release.find_tag(DEFAULT_TAG) is not None
    assert not release.has_config(DEFAULT_TAG)
    assert len({tag.value for tag in release.tags}) == len(release.tags)
    assert not set(release.missing_tags) & set(release.tag_names)
    assert find_release(release.choice) is release_of_model(release.model_type) is release
    assert release.marker.endswith(f"{release.package}.py")
    # Defaults of flags that are written down once for all releases.
    common = ("learning_rate", "shard_size", "sampling_rate", "default_horizon")
    assert {name: getattr(release, name) for name in common} == {name: getattr(Release, name) for name in common}


def test_a_release_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(UnknownName, match=r"'n2' is not a release of GR00T.*Known: n1\.6, n1\.7"):
        find_release("n2")


@pytest.mark.parametrize("text", ["UNITREE_G1", "unitree_g1", " Unitree_G1 "])
@pytest.mark.parametrize(
    ("choice", "value"), [("n1.6", "unitree_g1"), ("n1.7", "unitree_g1_full_body_with_waist_height_nav_cmd")]
)
def test_a_tag_is_mapped_by_its_name_in_any_case(choice: str, value: str, text: str) -> None:
    release = find_release(choice)
    assert release.tag_value(text) == release.tag_value(value) == release.tag_value(value.upper()) == value
    assert release.tag_name(value) == release.tag_name(text) == "UNITREE_G1"


def test_an_unknown_tag_stays_as_it_is() -> None:
    for release in RELEASES:
        assert (release.tag_value("Aloha"), release.tag_name("Aloha")) == ("aloha", "ALOHA")
        assert release.find_tag("ALOHA") is None


def test_the_error_about_an_unknown_tag_lists_those_of_the_release() -> None:
    old, new = RELEASES
    told = old.describe_unknown_tag("libero_sim")
    assert told == f"LIBERO_SIM is no tag of GR00T {old.name}. Known: {', '.join(old.tag_names)}"
    told = new.describe_unknown_tag("gr1")
    reason = f"there is none for this robot; train it as {DEFAULT_TAG}"
    assert told.startswith(f"GR1 is no tag of GR00T {new.name}: {reason}. Known: ")
    assert told.endswith(f"Known: {', '.join(new.tag_names)}")
