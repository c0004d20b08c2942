"""Statistics that a dataset lacks are computed before workers start, whose barrier would not wait for them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import read_meta
from millrace.train.settings import FinetuneSettings

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

from millrace.train.groot import modality_configs as modality
from millrace.train.groot.missing_statistics import complete_statistics


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
