"""What a run does before and after training. GR00T and Ray are not needed, torch is."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="NOT TESTED: training needs torch: pip install '.[train]'")

from millrace.engine.errors import OutputBusy  # noqa: E402
from millrace.train.finetune import Prepare, finetune  # noqa: E402
from millrace.train.run_folder import claim_run_folder  # noqa: E402
from millrace.train.settings import FinetuneSettings  # noqa: E402
from support.ray_runs import IDENTITY  # noqa: E402
from support.small_training import train_small  # noqa: E402


def run(folder: Path, prepare: Prepare = lambda settings, tell: settings) -> tuple[Path, str]:
    """Train two steps in this process; returns the last checkpoint, and what the terminal showed."""
    settings = FinetuneSettings(
        datasets=(folder,), base_model_path="base", output_dir=folder, cpu=True, num_gpus=0, max_steps=2, save_steps=2
    )
    shown = io.StringIO()
    last = finetune(settings, IDENTITY, train_small, Console(file=shown, width=40), prepare=prepare)
    return last, shown.getvalue()


def test_what_is_done_before_training_is_done_by_one_run_at_a_time_and_not_for_a_finished_one(tmp_path: Path) -> None:
    prepared = []

    def prepare(settings: FinetuneSettings, tell: Callable[[str], None]) -> FinetuneSettings:
        with pytest.raises(OutputBusy), claim_run_folder(tmp_path, IDENTITY, overwrite=False):
            pass
        tell("computing stats.json")
        prepared.append(True)
        return replace(settings, max_steps=4)

    last, shown = run(tmp_path, prepare)
    assert shown.splitlines()[:2] == ["computing stats.json", "starting at step 0 of 4 with 1 worker(s)"]
    assert last == tmp_path / "checkpoint-4"
    run(tmp_path, prepare)
    assert prepared == [True]


def test_a_run_whose_losses_cannot_be_plotted_has_ended_well(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "losses.png").mkdir()
    last, shown = run(tmp_path)
    assert last == tmp_path / "checkpoint-2"
    assert shown.splitlines()[-1].startswith("warning: losses are not plotted: IsADirectoryError: ")
