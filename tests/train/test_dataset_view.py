"""A run hands GR00T views of its datasets where the installed GR00T would rewrite them, or stop at them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import read_meta
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.dataset.releases import find_release
from millrace.train.dataset_view import view_datasets
from millrace.train.settings import FinetuneSettings
from millrace.train.training_dataset import TrainingDataset
from support.groot_files import write_groot
from support.synthetic import edit_json

TAG = "new_embodiment"


def install(folder: Path, choice: Any, monkeypatch: pytest.MonkeyPatch, *, has_fingerprints: bool = False) -> None:
    """Put the files of a gr00t before all others on this process's path."""
    package = write_groot(folder / "installed", find_release(choice), has_fingerprints=has_fingerprints)
    monkeypatch.syspath_prepend(str(package))


@pytest.fixture
def run(aloha_gr1: Path, tmp_path: Path) -> Callable[..., FinetuneSettings]:
    def prepare(*datasets: Path, **settings: Any) -> FinetuneSettings:
        given = {"datasets": datasets or (aloha_gr1,), "output_dir": tmp_path / "run", **settings}
        asked = FinetuneSettings(base_model_path="base", num_gpus=0, cpu=True, **given)
        return view_datasets(asked, {TAG: read_config(aloha_gr1)}, told.append)

    told: list[str] = []
    return prepare


@pytest.fixture
def left_by_n1_7(aloha_gr1: Path, tmp_path: Path) -> Path:
    """A dataset on which a GR00T that keeps fingerprints has trained itself."""
    dataset = Path(shutil.copytree(aloha_gr1, tmp_path / "left"))
    edit_json(dataset / "meta/relative_stats.json", lambda content: content.update({FINGERPRINTS: {}}))
    return dataset


def test_a_groot_that_has_fingerprints_gets_a_view(
    run: Callable[..., FinetuneSettings], aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "n1.7", monkeypatch, has_fingerprints=True)
    settings = run()
    view = settings.groot_path(aloha_gr1)
    assert view.parent == tmp_path / "run/dataset_views"
    assert view.name.startswith("aloha_gr1-")
    assert settings.datasets == (aloha_gr1,)
    assert set(read_meta(view, "relative_stats.json")[FINGERPRINTS]) == {"left_arm", "right_arm"}
    assert (
        TrainingDataset.open(view).rows_path(0).read_bytes()
        == TrainingDataset.open(aloha_gr1).rows_path(0).read_bytes()
    )
    assert run().views == settings.views
    assert [part.groot_path(aloha_gr1) for part in settings.parts] == [view]


@pytest.mark.parametrize("choice", ["n1.6", "n1.7"])
def test_another_groot_reads_the_dataset_itself(
    choice: str, run: Callable[..., FinetuneSettings], aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, choice, monkeypatch)
    settings = run()
    assert settings.groot_path(aloha_gr1) == aloha_gr1
    assert not (tmp_path / "run").exists()


def test_another_groot_gets_a_view_of_what_it_would_stop_at(
    run: Callable[..., FinetuneSettings],
    aloha_gr1: Path,
    left_by_n1_7: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, "n1.6", monkeypatch)
    settings = run(aloha_gr1, left_by_n1_7)
    assert settings.groot_path(aloha_gr1) == aloha_gr1
    assert set(read_meta(settings.groot_path(left_by_n1_7), "relative_stats.json")) == {"left_arm", "right_arm"}
    assert FINGERPRINTS in read_meta(left_by_n1_7, "relative_stats.json")


def test_held_out_episodes_are_viewed_too(
    run: Callable[..., FinetuneSettings], aloha_gr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "n1.7", monkeypatch, has_fingerprints=True)
    for name in ("gr1", "gr1_heldout"):
        shutil.copytree(aloha_gr1, tmp_path / name)
    settings = run(tmp_path / "gr1", eval_dataset=tmp_path / "gr1_heldout")
    assert len(set(settings.views.values())) == 2
    assert set(settings.views) == {str(tmp_path / "gr1"), str(tmp_path / "gr1_heldout")}
