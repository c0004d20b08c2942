"""What a run is told: N1.6's flags and defaults, ours, and which of them contradict one another."""

import ast
import dataclasses
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tyro

from millrace.commands.finetune import Finetune
from millrace.engine.dataset.releases import RELEASES, find_release
from millrace.train.batch import BatchPlan
from millrace.train.errors import BatchError, GrootMissing, SettingsError
from millrace.train.finetune_flags import FinetuneFlags
from millrace.train.installed import require_groot
from millrace.train.settings import FinetuneSettings

# gr00t/configs/finetune_config.py of every release, without the dataset and the tag.
DEFAULTS = {
    "modality_config_path": None,
    "tune_llm": False,
    "tune_visual": False,
    "tune_projector": True,
    "tune_diffusion_model": True,
    "random_rotation_angle": None,
    "color_jitter_params": None,
    "extra_augmentation_config": None,
    "global_batch_size": 64,
    "dataloader_num_workers": 2,
    "learning_rate": 1e-4,
    "gradient_accumulation_steps": 1,
    "output_dir": "./outputs",
    "experiment_name": None,
    "save_steps": 1000,
    "save_total_limit": 5,
    "num_gpus": 1,
    "use_wandb": False,
    "max_steps": 10000,
    "weight_decay": 1e-5,
    "warmup_ratio": 0.05,
    "shard_size": 2**10,
    "episode_sampling_rate": 0.1,
    "num_shards_per_epoch": int(1e5),
}


# What it has besides, by release.
RELEASE_DEFAULTS = {
    "n1.6": {"state_dropout_prob": 0.0, "wandb_project": "finetune-gr00t-n1d6"},
    "n1.7": {
        "state_dropout_prob": 0.2,
        "wandb_project": "finetune-gr00t-n1d7",
        "save_only_model": False,
        "skip_weight_loading": False,
    },
}
# What builds of N1.7 have since July 2026; millrace finetune resumes without a flag.
NEWER_FLAGS = {"use_percentiles", "shortest_image_edge", "crop_fraction", "ds_weights_alpha"}


def settings(**flags: Any) -> FinetuneSettings:
    return FinetuneSettings(**{"datasets": (Path("out/a"),), "base_model_path": "base", **flags})


def parsed(*arguments: str) -> FinetuneSettings:
    return tyro.cli(Finetune, args=[*arguments, "--base-model-path", "base"]).settings()


def test_flags_have_the_names_and_defaults_of_groots() -> None:
    ours = {field.name: field.default for field in dataclasses.fields(FinetuneFlags)}
    assert {name: ours[name] for name in DEFAULTS} == DEFAULTS | {"output_dir": Path("./outputs")}
    assert ours["embodiment_tag"] == "NEW_EMBODIMENT"
    assert set(ours) >= NEWER_FLAGS


@pytest.mark.parametrize("choice", RELEASE_DEFAULTS)
def test_defaults_that_differ_are_those_of_the_release(choice: str) -> None:
    read = settings(gr00t=choice)
    assert read.release is find_release(choice)
    assert {name: getattr(read, name) for name in RELEASE_DEFAULTS[choice]} == RELEASE_DEFAULTS[choice]
    given = {"state_dropout_prob": 0.5, "wandb_project": "mine"}
    own = settings(gr00t=choice, **given)
    assert {name: getattr(own, name) for name in given} == given


@pytest.mark.skipif("GR00T_SRC" not in os.environ, reason="NOT TESTED: set GR00T_SRC to GR00T's source")
def test_the_copied_names_are_those_of_groots_source() -> None:
    source = Path(os.environ["GR00T_SRC"]) / "gr00t"
    (release,) = [one for one in RELEASES if (source / one.marker).is_file()]
    names = assigned(source / "configs/finetune_config.py", "FinetuneConfig")
    ours = {*DEFAULTS, *RELEASE_DEFAULTS[release.choice]}
    newer = NEWER_FLAGS & set(release.flags) | {"resume_from_checkpoint"}
    assert ours <= names - {"base_model_path", "dataset_path", "embodiment_tag"} <= ours | newer
    theirs = assigned(source / "data/embodiment_tags.py", "EmbodimentTag")
    # Early access lacks the last ones.
    assert theirs <= set(release.tag_names)
    assert set(release.tag_names) - theirs <= {"UNITREE_G1_SONIC", "ROBOCASA_PANDA_OMRON", "ROBOCASA_GR1_TABLETOP"}


def assigned(file: Path, name: str) -> set[str]:
    """Names that a class's body assigns or declares."""
    (found,) = [
        node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef) and node.name == name
    ]
    targets = [node.target for node in found.body if isinstance(node, ast.AnnAssign)]
    targets += [target for node in found.body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.skipif(find_spec("gr00t") is not None, reason="gr00t is installed here")
def test_without_groot_the_error_says_how_to_get_it() -> None:
    with pytest.raises(GrootMissing, match=r"^GR00T cannot be imported: no gr00t.*n1\.6-release .* for N1\.7"):
        require_groot()
    told = r"^GR00T N1\.7 cannot .*no gr00t.*Python 3\.12 .*--branch main .*Isaac-GR00T"
    with pytest.raises(GrootMissing, match=told):
        require_groot("n1.7")


def test_datasets_are_named_by_position_or_as_nvidias_launcher_does() -> None:
    here = Path.cwd()
    assert parsed("a", "b").datasets == (here / "a", here / "b")
    assert parsed("--dataset-path", "a").datasets == (here / "a",)
    assert parsed("--dataset-path", "a", "b", "--mix", "2", "1").mix == (2.0, 1.0)


def test_every_kind_of_flag_is_read() -> None:
    read = parsed(
        *("a", "--no-tune-projector", "--color-jitter-params", "brightness", "0.4", "hue", "0.1", "--use-ddp"),
        *("--import-module", "x.py", "--import-module", "y.py", "--embodiment-tag", "GR1", "--precision", "tf32"),
    )
    assert not read.tune_projector
    assert read.color_jitter_params == {"brightness": 0.4, "hue": 0.1}
    assert [path.name for path in read.import_module] == ["x.py", "y.py"]
    assert (read.tag, read.precision, read.uses_deepspeed) == ("gr1", "tf32", False)


def test_paths_are_absolute_and_a_hub_name_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parsed("a").base_model_path == str(tmp_path / "base")
    assert settings(base_model_path="nvidia/GR00T-N1.6-3B").absolute().base_model_path == "nvidia/GR00T-N1.6-3B"


def test_the_experiments_name_is_a_folder_as_in_n16() -> None:
    assert settings(output_dir=Path("o"), experiment_name="e").run_folder == Path("o/e")
    assert settings(output_dir=Path("o")).run_folder == Path("o")


def test_deepspeed_is_for_several_gpus_only() -> None:
    assert settings(num_gpus=2).uses_deepspeed
    assert not settings(num_gpus=1).uses_deepspeed
    assert not settings(num_gpus=2, cpu=True).uses_deepspeed
    assert not settings(num_gpus=2, use_ddp=True).uses_deepspeed


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"datasets": ()}, "no dataset is named"),
        ({"mix": (1.0, 2.0)}, "mix=[1.0, 2.0]: 2 shares for 1 datasets"),
        ({"mix": (0.0,)}, "mix=[0.0]: each share must be above 0"),
        ({"mix": (float("nan"),)}, "mix=[nan]: each share must be above 0"),
        ({"mix": (float("inf"),)}, "mix=[inf]: each share must be above 0"),
        ({"weights": {"a": float("inf")}}, "weights={'a': inf}: each share must be above 0"),
        ({"warmup_ratio": 5.0}, "warmup_ratio=5.0: must be from 0 to 1"),
        ({"learning_rate": -1e-4}, "learning_rate=-0.0001: must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be above 0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1: must be at least 0"),
        ({"max_steps": 0}, "max_steps=0: must be at least 1"),
        ({"num_gpus": -1}, "num_gpus=-1: must be at least 0"),
        ({"episode_sampling_rate": 1.5}, "episode_sampling_rate=1.5: must be above 0 and at most 1"),
        ({"extra_augmentation_config": "{"}, "extra_augmentation_config is not JSON"),
        ({"extra_augmentation_config": "[]"}, "extra_augmentation_config must be a JSON object"),
        ({"cpu": True, "precision": "bf16"}, "precision='bf16' needs GPUs"),
        ({"address": "auto", "num_gpus": 0}, "address='auto' needs num_gpus=1 or more"),
        ({"crop_fraction": 0.9}, "crop_fraction=0.9 needs shortest_image_edge: both"),
        ({"shortest_image_edge": 256}, "shortest_image_edge=256 needs crop_fraction: both"),
        ({"shortest_image_edge": 0, "crop_fraction": 0.9}, "shortest_image_edge=0: must be at least 1"),
        ({"shortest_image_edge": 9, "crop_fraction": 1.1}, "crop_fraction=1.1: must be above 0 and at most 1"),
        ({"state_dropout_prob": 1.2}, "state_dropout_prob=1.2: must be from 0 to 1"),
        ({"ds_weights_alpha": -1.0}, "ds_weights_alpha=-1.0: must be at least 0"),
        ({"ds_weights_alpha": 0.5, "mix": (1.0,)}, "ds_weights_alpha=0.5 and mix=[1.0] both decide"),
    ],
)
def test_what_cannot_be_is_told(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}") as caught:
        settings(**flags)
    assert caught.value.exit_code == 2


def test_the_global_batch_counts_accumulation_and_workers() -> None:
    plan = BatchPlan.of(settings(global_batch_size=64, gradient_accumulation_steps=4, num_gpus=2))
    assert (plan.per_device, plan.accumulation, plan.num_workers, plan.global_size) == (8, 4, 2, 64)
    assert BatchPlan.of(settings(global_batch_size=8, num_gpus=0)).per_device == 8


@pytest.mark.parametrize(("size", "near"), [(10, "8 or 16"), (3, "8")])
def test_a_batch_that_does_not_divide_is_an_error(size: int, near: str) -> None:
    told = rf"--global-batch-size {size} is not a multiple of 4 workers x 2 accumulation steps = 8\. Try {near}$"
    with pytest.raises(BatchError, match=told):
        BatchPlan.of(settings(global_batch_size=size, gradient_accumulation_steps=2, num_gpus=4))
