"""The benchmark of the start of training."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra `bench`")

from benchmarks.simulated import simulate_dataset, write_base_model
from benchmarks.start_runs import check_unchanged, keep_check
from millrace.train.training_dataset import TrainingDataset

BENCHMARK = [sys.executable, "-m", "benchmarks.train_start"]


@pytest.mark.skipif(find_spec("gr00t") is not None, reason="gr00t is there")
def test_without_gr00t_it_says_how_to_get_it() -> None:
    done = subprocess.run([*BENCHMARK, "--episodes", "10"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "GR00T cannot be imported: no gr00t" in done.stderr
    assert "git clone --recurse-submodules --branch n1.6-release" in done.stderr


def test_a_simulated_dataset_is_checked_as_unchanged(aloha_gr1: Path, tmp_path: Path) -> None:
    dataset = simulate_dataset(aloha_gr1, tmp_path / "simulated", 40)
    files = TrainingDataset.open(dataset)
    assert len(files.lengths) == 40
    assert all(files.rows_path(number).is_file() for number in files.lengths)
    assert len(list(dataset.rglob("*.mp4"))) == 40
    base = write_base_model(tmp_path / "base")
    keep_check(dataset, base)
    assert check_unchanged(dataset, base).wall > 0
    (dataset / "data/chunk-000/episode_000039.parquet").unlink()
    with pytest.raises(AssertionError, match="rows-missing"):
        check_unchanged(dataset, base)


@pytest.mark.skipif(find_spec("gr00t") is None, reason="NOT TESTED: gr00t is not importable")
def test_it_measures_and_plots(tmp_path: Path) -> None:
    flags = ("--episodes", "20,60", "--checked", "4", "--plot", tmp_path / "x.png", "--json", tmp_path / "x.json")
    done = subprocess.run([*BENCHMARK, *map(str, flags)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "x.json").read_text())
    assert figures["indexes"]["60"].keys() == figures["loaders"].keys() == {"gr00t", "millrace"}
    assert figures["unchanged"]["20"]["cpu"] > 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "unchanged since" in done.stdout
