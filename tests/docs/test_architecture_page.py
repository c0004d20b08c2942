"""docs/architecture.md shows the layers as the code has them, and names files that exist; so does CONTRIBUTING.md."""

import re

import pytest

from conftest import REPOSITORY
from test_architecture import ENGINE_LAYERS, LAYERS

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
# With a slash, in the diagram too.
PATH = re.compile(r"(?<![\w/.])((?:[a-z_\d]+/)+(?:[\w.-]+\.(?:py|yaml|md|yml))?)(?![\w/])")


def first_cells(part: str) -> list[str]:
    """The folder or module in the first cell of each row of a table."""
    return re.findall(r"^\| `([\w/]+?)(?:/|\.py)` \|", part, re.MULTILINE)


def test_the_layers_are_those_that_the_test_of_imports_holds() -> None:
    packages, engine = PAGE.split("\n## Layers\n")[1].split("\n## ")[0].split("Within `engine/`")
    assert first_cells(packages) == list(LAYERS)
    assert first_cells(engine) == [f"engine/{name}" for name in ENGINE_LAYERS]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_exists(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    paths = {path for path in PATH.findall(text) if not re.search("[A-Z]{4}", path)} - {"meta/"}
    missing = [path for path in sorted(paths) if not (REPOSITORY / path).exists()]
    assert len(paths) > 5
    assert not missing
