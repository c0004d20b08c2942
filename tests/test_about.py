"""What is said of versions and of installing Millrace is the same everywhere, and true."""

import re
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.engine.about import (
    DISTRIBUTION,
    TESTED,
    VERSION,
    describe_tested,
    environment_versions,
    install_command,
    untested_versions,
)

TEXTS = ("README.md", "Makefile", "docs", "examples", "commands", "embodiments", "engine", "train", "millrace")
# A distribution `millrace` that is not ours is on the index; `.[extra]` and `millrace-robotics` are right.
BARE_NAME = re.compile(r"""pip3? install ([^\n]*['"\s])?millrace(?![\w.-])|millrace\[""")


def text_files() -> list[Path]:
    found = [path for name in TEXTS for path in [REPOSITORY / name, *(REPOSITORY / name).rglob("*")]]
    return [path for path in found if path.suffix in (".md", ".py", ".yaml") or path.name == "Makefile"]


def test_no_text_installs_the_other_project_of_that_name() -> None:
    lines = ((path, line) for path in text_files() for line in path.read_text(encoding="utf-8").splitlines())
    assert [found for found in lines if BARE_NAME.search(found[1])] == []


@pytest.mark.parametrize("text", ["pip install 'millrace[train]'", "pip install millrace", "pip3 install -U millrace"])
def test_the_bare_name_is_found(text: str) -> None:
    assert BARE_NAME.search(text)
    assert not BARE_NAME.search(install_command("train"))


def test_the_makefile_tests_what_is_called_tested() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    listed = re.search(r"^TESTED := (.*)$", makefile, re.MULTILINE)
    assert listed is not None
    assert listed[1].split() == [f"{environment.python}-av{environment.av}" for environment in TESTED]


def test_the_package_claims_the_pythons_that_are_tested() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    claimed = re.findall(r"Python :: (3\.\d+)", project)
    assert claimed == sorted({environment.python for environment in TESTED}, key=lambda python: int(python[2:]))
    assert f'requires-python = ">={claimed[0]}"' in project
    assert re.search(rf'^name = "{DISTRIBUTION}"', project, re.MULTILINE)


READ_KINDS = ("yaml", "template", "css", "html", "js")


def test_an_installed_millrace_has_every_package() -> None:
    """Not only an editable one, which sees all folders."""
    project = (REPOSITORY / "pyproject.toml").read_text()
    listed = re.search(r"^\[tool\.setuptools\]\n.*?^packages = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert listed is not None
    rooms = [REPOSITORY / name for name in ("commands", "embodiments", "engine", "millrace", "train")]
    files = {path.parent for room in rooms for kind in ("*.py", "*.yaml") for path in room.rglob(kind)}
    names = {".".join(folder.relative_to(REPOSITORY).parts) for folder in files}
    found = {name if name == "millrace" else f"millrace.{name}" for name in names}
    assert set(re.findall(r'"(.+)"', listed[1])) == found


READ_KINDS = ("yaml", "template", "css", "html", "js")


def test_an_installed_millrace_has_every_file_that_it_reads() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text()
    data = project.partition("[tool.setuptools.package-data]\n")[2].partition("\n\n")[0]
    rooms = [REPOSITORY / name for name in ("commands", "embodiments", "engine", "millrace", "train")]
    files = [path for room in rooms for kind in READ_KINDS for path in room.rglob(f"*.{kind}")]
    expected = {(".".join(path.parent.relative_to(REPOSITORY).parts), f"*{path.suffix}") for path in files}
    listed = re.findall(r'"millrace\.(.+)" = \[(.+)\]', data)
    assert {(package, suffix) for package, texts in listed for suffix in re.findall('"(.+?)"', texts)} == expected


def test_the_readme_names_what_is_tested() -> None:
    readme = " ".join((REPOSITORY / "README.md").read_text().split())
    assert describe_tested() in readme


def test_an_environment_that_was_not_tested_is_named() -> None:
    assert environment_versions()["millrace"] == VERSION
    assert untested_versions({"python": "3.12.9", "av": "19.1.0"}) == ()
    assert untested_versions({"python": "3.14.0", "av": "20.0.0"}) == ("Python 3.14.0", "PyAV 20.0.0")
    assert untested_versions({"python": "3.1.0", "av": None}) == ("Python 3.1.0", "PyAV missing")
