"""Weights & Biases, by the files of its offline mode: every row, the config, the end, and one run for all starts."""

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from millrace.train.settings import FinetuneSettings

WHY_NOT = "" if find_spec("wandb") and find_spec("torch") else "NOT TESTED: wandb or torch is not importable"
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@dataclass
class Data:
    """A dataclass, as the parts of GR00T's config are."""

    shard_size: int = 8
    mode: str = "single"


def log(folder: Path, steps: range, *, rank: int = 0, fails: bool = False, use_wandb: bool = True) -> None:
    import wandb

    from millrace.train.wandb_run import wandb_run
    from millrace.train.worker import Worker

    settings = FinetuneSettings(
        datasets=(folder / "dataset",), base_model_path="base", output_dir=folder, use_wandb=use_wandb, max_steps=4
    )
    worker = Worker(rank, 2, folder, None, settings, lambda metrics, checkpoint: None)
    with wandb_run(worker, {"data": Data()}, tags=("single",)):
        for step in steps if wandb.run else ():
            wandb.log({"train/global_step": step, "train/loss": 1 / step})
        if fails:
            raise RuntimeError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_every_row_the_config_and_the_end_are_there(folder: Path) -> None:
    from support import wandb_files

    log(folder, range(1, 5))
    (start,) = wandb_files.read_starts(folder)
    assert [row["train/global_step"] for row in wandb_files.rows(start)] == [1, 2, 3, 4]
    assert wandb_files.exit_codes(start) == [0]
    config = wandb_files.config(start)
    assert config["data"] == {"shard_size": 8, "mode": "single"}
    assert config["millrace"]["datasets"] == [str(folder / "dataset")]
    assert config["millrace"]["max_steps"] == 4


def test_all_starts_are_one_run_and_one_that_fails_says_so(folder: Path) -> None:
    from support import wandb_files

    with pytest.raises(RuntimeError):
        log(folder, range(1, 3), fails=True)
    log(folder, range(3, 5))
    first, second = wandb_files.read_starts(folder)
    noted = json.loads((folder / "wandb_config.json").read_text())
    assert wandb_files.run_ids([first, second]) == {noted["id"]}
    assert (noted["project"], noted["run_id"]) == ("finetune-gr00t-n1d6", "run")
    assert wandb_files.exit_codes(first) == [1]
    assert wandb_files.exit_codes(second) == [0]
    assert [row["train/global_step"] for row in wandb_files.rows(second)] == [3, 4]


def test_another_run_has_another_id_and_only_rank_0_of_a_run_that_asks_logs(folder: Path) -> None:
    log(folder, range(1, 3), rank=1)
    assert not list(folder.iterdir())
    log(folder, range(1, 3), use_wandb=False)
    assert [path.name for path in folder.iterdir()] == ["wandb_config.json"]
    first = json.loads((folder / "wandb_config.json").read_text())["id"]
    shutil.rmtree(folder)  # as --overwrite does
    folder.mkdir()
    log(folder, range(1, 3), use_wandb=False)
    assert json.loads((folder / "wandb_config.json").read_text())["id"] != first
