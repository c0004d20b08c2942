"""Which GR00T is installed is told by its files, without an import; one that is asked for must be that one."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from millrace.engine.dataset.releases import RELEASES, Field, Release
from millrace.train.errors import GrootMissing
from millrace.train.installed import choose_release, find_installed, how_to_get, require_groot
from millrace.train.release_settings import guess_release
from support.groot_files import write_groot

pytestmark = pytest.mark.skipif(find_spec("gr00t") is not None, reason="gr00t is installed here")
OLD, NEW = RELEASES


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, release: Release | None, **options: tuple[str, ...]) -> None:
    """A gr00t of a release, and the packages that it needs."""
    write_groot(folder, release, **options)
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            (folder / f"{package}.py").touch()
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.choice)
def test_the_installed_release_is_told_by_files_alone(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_installed() is None
    install(monkeypatch, tmp_path, release)
    found = find_installed()
    assert found is not None
    assert found.release is choose_release("auto") is require_groot() is require_groot(release.choice) is release
    assert found.folders == (tmp_path / "gr00t",)


def test_a_gr00t_of_an_unknown_release_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, None)
    assert choose_release("auto") is None
    with pytest.raises(GrootMissing, match=f"the gr00t in {re.escape(str(tmp_path))}/gr00t is not N1.6 or N1.7"):
        require_groot()
    with pytest.raises(GrootMissing, match=r"is not N1\.7\. For N1\.7 in a Python 3\.12 environment"):
        require_groot("n1.7")


def test_another_release_than_the_one_that_is_asked_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, NEW)
    told = r"gr00t is N1\.7, not N1\.6\. For N1\.6 in a Python 3\.10 environment: git clone .*--branch n1\.6-release "
    with pytest.raises(GrootMissing, match=told) as caught:
        require_groot("n1.6")
    assert caught.value.exit_code == 2
    assert caught.value.remedy == how_to_get(OLD)


def test_fields_of_a_build_are_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, NEW, flags=("use_percentiles",))
    found = find_installed()
    assert found is not None
    names = ("use_percentiles", "crop_fraction", "other")
    has = [found.has(Field("configs/finetune_config.py", "FinetuneConfig", name)) for name in names]
    assert has == [True, False, False]
    assert not found.has(Field("configs/no_file.py", "FinetuneConfig", "use_percentiles"))


def test_without_an_installed_gr00t_a_run_is_planned_for_the_release_of_its_base_model(tmp_path: Path) -> None:
    assert [guess_release("auto", release.base_model) for release in RELEASES] == list(RELEASES)
    for release in RELEASES:
        (tmp_path / "config.json").write_text(f'{{"model_type": "{release.model_type}"}}')
        assert guess_release("auto", str(tmp_path)) is release
    (tmp_path / "config.json").write_text("[]")
    assert guess_release("auto", str(tmp_path)) is guess_release("auto", "mine/model") is OLD


def test_the_installed_release_counts_before_that_of_the_base_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, NEW)
    assert guess_release("auto", OLD.base_model) is NEW
    assert guess_release("n1.6", NEW.base_model) is OLD
