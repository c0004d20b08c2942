"""`--no-override-pretraining-statistics`: joints are normalised as the base model's were, where it knows them."""

import json
import subprocess
from pathlib import Path

import pytest
from tiny import PRETRAINED, WHY_NOT, finetune, run_python
from tiny_run import TinyRun, tiny_run

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

# What the tiny base model has learnt of GR1: one arm, absolute actions.
ONE_ARM = """
from gr00t.configs.data.embodiment_configs import register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig

CONFIG = {
    "video": ModalityConfig(delta_indices=[0], modality_keys=["ego_view"]),
    "state": ModalityConfig(delta_indices=[0], modality_keys=["left_arm"]),
    "action": ModalityConfig(
        delta_indices=list(range(16)),
        modality_keys=["left_arm"],
        action_configs=[
            ActionConfig(
                rep=ActionRepresentation.ABSOLUTE, type=ActionType.NON_EEF, format=ActionFormat.DEFAULT
            ),
        ],
    ),
    "language": ModalityConfig(delta_indices=[0], modality_keys=["annotation.human.task_description"]),
}
register_modality_config(CONFIG, EmbodimentTag.GR1)
"""
FLAGS = ("--num-gpus", 0, "--max-steps", 1, "--save-steps", 1, "--global-batch-size", 4, "--dataloader-num-workers", 0)
KEPT = (*FLAGS, "--embodiment-tag", "GR1", "--no-override-pretraining-statistics")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory.getbasetemp())


def train(run: TinyRun, out: Path, *flags: object) -> "subprocess.CompletedProcess[str]":
    return run_python(*finetune(run.folder / "out/gr1", run.folder / "base", out, *flags), cwd=run.folder)


def test_joints_that_the_base_model_knows_keep_its_statistics(run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "one_arm.py").write_text(ONE_ARM)
    done = train(run, tmp_path / "run", *KEPT, "--modality-config-path", tmp_path / "one_arm.py")
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "run/checkpoint-1/statistics.json").read_text())["gr1"]
    for part in ("state", "action"):
        assert saved[part]["left_arm"] == PRETRAINED


def test_joints_that_it_does_not_know_are_an_error_before_training(run: TinyRun, tmp_path: Path) -> None:
    done = train(run, tmp_path / "run", *KEPT)
    assert done.returncode == 1
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert "base for GR1: no state left_hand, no state right_arm" in told
    assert "no relative action left_arm" in told
    assert not (tmp_path / "run").exists()


def test_statistics_of_the_runs_tag_alone_are_left_out_of_the_base(tmp_path: Path) -> None:
    from millrace.train.groot.base_processor import strip_statistics

    (tmp_path / "statistics.json").write_text('{"gr1": {"state": {}}, "unitree_g1": {"state": {}}}')
    (tmp_path / "processor_config.json").write_text("{}")
    with strip_statistics(str(tmp_path), ["gr1", "panda"]) as folder:
        assert (Path(folder) / "statistics.json").read_text() == '{"unitree_g1": {"state": {}}}'
        assert (Path(folder) / "processor_config.json").is_file()
    with strip_statistics(str(tmp_path), ["new_embodiment"]) as folder:
        assert folder == str(tmp_path)
