"""Statistics that a dataset lacks are computed before workers start, whose barrier would not wait for them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import convert_here, read_meta
from millrace.train.settings import FinetuneSettings
from support.synthetic import write_dataset

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

from millrace.train.groot import modality_configs as modality
from millrace.train.groot.missing_statistics import complete_statistics

STATISTICS = ("stats.json", "relative_stats.json")


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Registrations last as long as the process; here as long as a test."""
    before = dict(MODALITY_CONFIGS)
    yield
    MODALITY_CONFIGS.clear()
    MODALITY_CONFIGS.update(before)
    modality._run_file.cache_clear()


def test_what_a_dataset_lacks_is_computed_once_and_said(aloha_gr1: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(aloha_gr1, tmp_path / "lacking"))
    for name in ("stats.json", "relative_stats.json"):
        (dataset / "meta" / name).unlink()
    settings = FinetuneSettings(
        datasets=(aloha_gr1, dataset), base_model_path="base", output_dir=tmp_path / "run", num_gpus=0, cpu=True
    )
    told: list[str] = []
    complete_statistics(settings, told.append)
    assert [line.partition(", which")[0] for line in told] == [
        f"computing meta/stats.json and meta/relative_stats.json of {dataset}"
    ]
    for name, key in (("stats.json", "action"), ("relative_stats.json", "left_arm")):
        found, ours = (read_meta(folder, name)[key] for folder in (dataset, aloha_gr1))
        for stat in ("mean", "std", "min", "max", "q01", "q99"):
            np.testing.assert_allclose(found[stat], ours[stat], atol=1e-5)
    assert (tmp_path / "run/logs/statistics.log").is_file()
    complete_statistics(settings, told.append)
    assert len(told) == 1


def test_one_that_lacks_a_feature_is_completed(aloha_gr1: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(aloha_gr1, tmp_path / "lacking"))
    stats = read_meta(dataset, "stats.json")
    del stats["action"]["q99"]
    (dataset / "meta/stats.json").write_text(json.dumps(stats))
    settings = FinetuneSettings(datasets=(dataset,), base_model_path="base", output_dir=tmp_path / "run", num_gpus=0)
    told: list[str] = []
    complete_statistics(settings, told.append)
    assert told[0].startswith(f"computing meta/stats.json of {dataset}, which may take long")
    assert "q99" in read_meta(dataset, "stats.json")["action"]


def test_those_of_each_tag_and_of_the_held_out_episodes_are_completed(tmp_path: Path) -> None:
    """By the modality config of their own tag."""
    write_dataset(tmp_path / "source", lengths=(70, 70, 70))
    convert_here(tmp_path / "source", tmp_path / "gr1", episodes="0")
    convert_here(tmp_path / "source", tmp_path / "aloha", episodes="1", robot="aloha")
    convert_here(tmp_path / "source", tmp_path / "aloha_heldout", episodes="2", robot="aloha")
    datasets = [tmp_path / name for name in ("gr1", "aloha", "aloha_heldout")]
    written = {dataset: {name: read_meta(dataset, name) for name in STATISTICS} for dataset in datasets}
    for dataset in datasets:
        for name in STATISTICS:
            (dataset / "meta" / name).unlink()
    settings = FinetuneSettings(
        datasets=tuple(datasets[:2]),
        eval_dataset=datasets[2],
        tags={"gr1": "GR1"},
        weights={"gr1": 0.5, "aloha": 0.5},
        base_model_path="base",
        output_dir=tmp_path / "run",
        num_gpus=0,
    )
    told: list[str] = []
    complete_statistics(settings, told.append)
    assert [line.partition(", which")[0] for line in told] == [
        f"computing meta/stats.json and meta/relative_stats.json of {dataset}" for dataset in datasets
    ]
    for dataset in datasets:
        assert set(read_meta(dataset, "relative_stats.json")) == set(written[dataset]["relative_stats.json"])
        found, ours = (
            stats["observation.state"]["mean"]
            for stats in (read_meta(dataset, "stats.json"), written[dataset]["stats.json"])
        )
        np.testing.assert_allclose(found, ours, atol=1e-5)
    complete_statistics(settings, told.append)
    assert len(told) == 3
