"""What nodes of a cluster are sent is this process's Millrace, as one importable folder, and what it needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from millrace.commands.flags import show
from millrace.engine.about import code_digest, installed_version
from millrace.engine.errors import RecipeError
from millrace.engine.execution.shipping import LIBRARIES, copy_code, pinned_libraries, runtime_environment
from millrace.engine.execution.workers import Workers

IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
import millrace.engine.about, millrace.engine.execution.node, millrace.commands.overview
import millrace.train.settings
print(millrace.__file__, millrace.engine.about.__file__, millrace.engine.about.code_digest())
"""


def test_what_is_sent_is_imported_before_what_is_installed(tmp_path: Path) -> None:
    copied = copy_code(tmp_path / "sent" / "millrace")
    assert not list(copied.rglob("*.pyc"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, str(copied.parent)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    package, about, digest = done.stdout.split()
    assert Path(package).parent == Path(about).parent.parent == copied
    assert digest == code_digest()
    assert (copied / "embodiments/robots/gr1.yaml").is_file()


def test_other_code_of_the_same_version_has_another_digest(tmp_path: Path) -> None:
    copied = copy_code(tmp_path / "millrace")
    (copied / "engine/fps.py").write_text((copied / "engine/fps.py").read_text() + "\n")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split()[-1] != code_digest()


def test_the_libraries_that_are_sent_are_those_that_millrace_needs() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'^    "([\w]+)', project.partition("\ndependencies = [")[2].partition("\n]")[0], re.MULTILINE)
    assert sorted([*LIBRARIES, "ray"]) == sorted(needed)
    assert f"av=={installed_version('av')}" in pinned_libraries()


def test_libraries_are_sent_only_where_that_is_asked_for() -> None:
    with runtime_environment(None) as nothing:
        assert nothing == {}
    with runtime_environment("code") as code:
        (folder,) = code["runtime_env"]["py_modules"]
        assert Path(folder).name == "millrace"
        assert set(code["runtime_env"]) == {"py_modules"}
    assert not Path(folder).exists()
    with runtime_environment("libraries") as all_of_it:
        assert all_of_it["runtime_env"]["pip"] == pinned_libraries()


def test_nothing_can_be_sent_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(RecipeError) as caught:
        Workers(ship="code")
    assert show(caught.value.message) == (
        "--ship code is for a running Ray cluster: name one with --address, or leave it out"
    )
    monkeypatch.setenv("RAY_ADDRESS", "here:1")
    assert Workers(ship="code").cluster == "here:1"
