"""A GR00T that keeps fingerprints takes a dataset's statistics, and a view, as they are: nothing is computed again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from n1d7 import finetune_n1d7, write_base_n1d7
from tiny import run_python

from conftest import convert_here, read_meta
from millrace import cli
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints, relative_fingerprints
from millrace.engine.dataset.groot_view import ViewPlan
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.dataset.releases import find_release
from millrace.engine.dataset.view_statistics import Purpose
from millrace.train.installed import find_installed
from millrace.train.settings import FinetuneSettings
from support.g1_sources import COLUMNS
from support.synthetic import write_dataset

INSTALLED = find_installed()
KEEPS_THEM = INSTALLED is not None and INSTALLED.has_fingerprints
pytestmark = pytest.mark.skipif(not KEEPS_THEM, reason="NOT TESTED: no GR00T that keeps fingerprints is installed")
TAG = "new_embodiment"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder / "source", lengths=(150, 100, 60))
    convert_here(folder / "source", folder / "gr1")
    return folder / "gr1"


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Registrations last as long as the process; here as long as a test."""
    if not KEEPS_THEM:
        yield
        return
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    from millrace.train.groot import modality_configs

    before = dict(MODALITY_CONFIGS)
    yield
    MODALITY_CONFIGS.clear()
    MODALITY_CONFIGS.update(before)
    modality_configs._run_file.cache_clear()


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of meta/: its number on disk, time of change and content."""
    files = sorted((folder / "meta").iterdir())
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def generate(folder: Path, tag: str = TAG) -> None:
    """As its launcher does before training."""
    from gr00t.data.embodiment_tags import EmbodimentTag
    from gr00t.data.stats import generate_rel_stats, generate_stats

    generate_stats(folder)
    generate_rel_stats(folder, EmbodimentTag(tag))


def register(dataset: Path, **settings: Any) -> None:
    from millrace.train.groot.modality_configs import register_run_configs

    register_run_configs(FinetuneSettings(datasets=(dataset,), base_model_path="base", num_gpus=0, **settings))


def test_stats_json_is_taken_as_convert_wrote_it(dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from gr00t.data.stats import check_stats_validity, generate_stats

    before = snapshot(dataset)
    generate_stats(dataset)
    assert snapshot(dataset) == before
    assert check_stats_validity(dataset, list(feature_fingerprints(read_meta(dataset, "info.json")["features"])))
    assert "Computing" not in capfd.readouterr().out


def test_a_view_is_taken_as_it_is(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    register(dataset)
    ViewPlan.of(dataset, Purpose(read_config(dataset), TAG, has_fingerprints=True)).write(tmp_path / "view")
    own, seen = snapshot(dataset), snapshot(tmp_path / "view")
    generate(tmp_path / "view")
    assert snapshot(dataset) == own
    after = snapshot(tmp_path / "view")
    # It writes relative statistics in every run: the same bytes in a new file.
    assert {name: content for name, (_, _, content) in after.items()} == {
        name: content for name, (_, _, content) in seen.items()
    }
    assert {name for name in seen if after[name] != seen[name]} <= {"relative_stats.json"}
    printed = capfd.readouterr().out
    assert "Computing" not in printed
    assert "Generating relative stats" not in printed


def test_the_dataset_itself_would_be_rewritten(dataset: Path, tmp_path: Path) -> None:
    """Why finetune hands over a view: N1.6 would stop at what this GR00T leaves behind."""
    register(dataset)
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    generate(copy)
    assert FINGERPRINTS in read_meta(copy, "relative_stats.json")


def test_its_fingerprints_are_ours(dataset: Path) -> None:
    from gr00t.data.stats import _compute_stats_fingerprint

    features = read_meta(dataset, "info.json")["features"] | {"weight": {"dtype": "float64", "shape": None}}
    due = feature_fingerprints(features)
    assert due == {name: _compute_stats_fingerprint(name, features[name]) for name in due}


def test_its_fingerprints_of_every_tags_relative_actions_are_ours(dataset: Path) -> None:
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
    from gr00t.data.embodiment_tags import EmbodimentTag
    from gr00t.data.stats import _compute_relative_action_fingerprint

    from millrace.train.groot.modality_configs import read_own_config

    register(dataset)
    num_compared = 0
    for tag in MODALITY_CONFIGS:
        for key, found in relative_fingerprints(read_own_config(tag), tag).items():
            assert found == _compute_relative_action_fingerprint(EmbodimentTag(tag), key), (tag, key)
            num_compared += 1
    assert num_compared > 2


def test_a_run_hands_it_views_and_leaves_its_datasets_alone(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from millrace.train.groot.missing_statistics import complete_statistics

    settings = FinetuneSettings(
        datasets=(dataset,), base_model_path="base", output_dir=tmp_path / "run", num_gpus=0, cpu=True
    )
    before, told = snapshot(dataset), list[str]()
    prepared = complete_statistics(settings, told.append)
    (view,) = (tmp_path / "run/dataset_views").iterdir()
    assert prepared.groot_path(dataset) == view
    assert told == []
    generate(view)
    assert complete_statistics(settings, told.append).views == prepared.views
    assert snapshot(dataset) == before
    assert "Generating relative stats" not in capfd.readouterr().out


def test_what_only_it_computes_goes_into_the_view(dataset: Path, tmp_path: Path) -> None:
    """Of a dataset without statistics, for steps that do not begin at 0: GR00T's own, never written to the dataset."""
    copy = Path(shutil.copytree(dataset, tmp_path / "bare"))
    for name in ("stats.json", "relative_stats.json"):
        (copy / "meta" / name).unlink()
    text = (copy / "modality_config.py").read_text().replace("list(range(16))", "list(range(1, 9))")
    text = text.replace(
        '"state": ModalityConfig(\n        delta_indices=[0]', '"state": ModalityConfig(\n        delta_indices=[1]'
    )
    (tmp_path / "later.py").write_text(text)
    settings = FinetuneSettings(
        datasets=(copy,),
        base_model_path="base",
        output_dir=tmp_path / "run",
        num_gpus=0,
        cpu=True,
        modality_config_path=tmp_path / "later.py",
    )
    from millrace.train.groot.missing_statistics import complete_statistics

    told: list[str] = []
    view = complete_statistics(settings, told.append).groot_path(copy)
    assert any("relative_stats.json" in line for line in told)
    assert set(read_meta(view, "relative_stats.json")) == {"left_arm", "right_arm", FINGERPRINTS}
    assert not (copy / "meta/relative_stats.json").exists()
    before = snapshot(view)
    complete_statistics(settings, told.append)
    assert snapshot(view) == before


def test_a_tag_with_a_config_of_its_own_is_viewed_with_its_steps(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The G1 has action chunks of 50 steps there, but of 30 in the dataset, as N1.6 has them."""
    options: dict[str, Any] = {"names": "nested", "parts": COLUMNS["g1_gripper"], "robot_type": None}
    write_dataset(tmp_path / "source", lengths=(150, 120), fps=30, cameras=("cam_left_high",), **options)
    convert_here(tmp_path / "source", tmp_path / "g1", map="g1_gripper_to_unitree_g1")
    words = ["groot-view", str(tmp_path / "g1"), str(tmp_path / "view"), "--embodiment-tag", "UNITREE_G1"]
    assert cli.main(words) == 0
    assert "relative left_arm, relative right_arm" in capfd.readouterr().out
    tag = find_release("n1.7").tag_value("UNITREE_G1")
    seen = snapshot(tmp_path / "view")
    generate(tmp_path / "view", tag)
    assert {name: content for name, (_, _, content) in snapshot(tmp_path / "view").items()} == {
        name: content for name, (_, _, content) in seen.items()
    }
    assert "Generating relative stats" not in capfd.readouterr().out
    (tmp_path / "g1/meta/relative_stats.json").unlink()
    generate(tmp_path / "g1", tag)
    groots, ours = (read_meta(tmp_path / name, "relative_stats.json") for name in ("g1", "view"))
    assert groots[FINGERPRINTS] == ours[FINGERPRINTS]
    for key in ("left_arm", "right_arm"):
        for stat, values in groots[key].items():
            assert np.shape(values)[0] == 50
            np.testing.assert_allclose(ours[key][stat], values, rtol=2e-6, atol=2e-6, err_msg=f"{stat} of {key}")


def test_finetune_trains_on_a_view_and_writes_nothing_to_the_dataset(dataset: Path, tmp_path: Path) -> None:
    base = write_base_n1d7(dataset / "modality_config.py", tmp_path / "base")
    before, flags = snapshot(dataset), ("--global-batch-size", 4, "--save-steps", 1)
    starts = (("--max-steps", 1, "--num-gpus", 0, "--dataloader-num-workers", 0),)
    # Resumes through Ray, with the same view: two workers, a loader process each.
    starts += (("--max-steps", 2, "--num-gpus", 2, "--dataloader-num-workers", 1),)
    for start in starts:
        done = run_python(*finetune_n1d7(dataset, base, tmp_path / "run", *flags, *start))
        assert done.returncode == 0, done.stderr
    (view,) = (tmp_path / "run/dataset_views").iterdir()
    assert set(read_meta(view, "relative_stats.json")) == {"left_arm", "right_arm", FINGERPRINTS}
    assert snapshot(dataset) == before
    saved = json.loads((tmp_path / "run/checkpoint-2/statistics.json").read_text())[TAG]
    relative = read_meta(dataset, "relative_stats.json")
    assert saved["relative_action"]["left_arm"]["q99"] == relative["left_arm"]["q99"]
    assert not list((tmp_path / "run/logs").glob("statistics.log"))
