"""Every relative link of the pages leads to a file that exists, and to a heading in it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from conftest import REPOSITORY

PAGES = sorted(page for pattern in ("*.md", "docs/*.md", "examples/*.md") for page in REPOSITORY.glob(pattern))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SOURCE = re.compile(r'(?:src|href)="([^"]+)"')
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links, but for those on other machines."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found = [*LINK.findall(text), *SOURCE.findall(text)]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them: of equal ones the second is name-1."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    seen: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(text):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}: no such heading"


def test_links_and_headings_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` page!\n[x](y.md#z) `[n](no.md)` [h](https://h)\n## Keys\n## Keys\n", encoding="utf-8")
    assert links(page) == ["y.md#z"]
    assert anchors(page) == {"a-b-page", "keys", "keys-1"}
