"""Settings to GR00T's own config: the modality config of a tag, and the values that NVIDIA's launcher sets."""

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.train.errors import ConfigError, GpuMissing
from millrace.train.settings import FinetuneSettings

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

from millrace.train.groot import modality_configs as modality
from millrace.train.groot.modality_configs import import_user_modules, make_identity, register_run_config
from millrace.train.installed import require_groot

OWN = "from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS, register_modality_config\n"
OWN += "from gr00t.data.embodiment_tags import EmbodimentTag\n"


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Registrations last as long as the process; here as long as a test."""
    before, path = dict(MODALITY_CONFIGS), list(sys.path)
    yield
    MODALITY_CONFIGS.clear()
    MODALITY_CONFIGS.update(before)
    sys.path[:] = path
    modality._run_file.cache_clear()


def settings(*datasets: Path, **flags: Any) -> FinetuneSettings:
    return FinetuneSettings(**{"datasets": datasets, "base_model_path": "base", "num_gpus": 0, **flags})


def test_a_datasets_own_config_serves_for_gr1(aloha_gr1: Path) -> None:
    assert "gr1" not in MODALITY_CONFIGS
    config = register_run_config(settings(aloha_gr1, embodiment_tag="GR1"))
    assert config is MODALITY_CONFIGS["gr1"]
    assert config["action"].modality_keys == ["left_arm", "left_hand", "right_arm", "right_hand", "waist"]


def test_registering_again_in_one_process_changes_nothing(aloha_gr1: Path) -> None:
    first = register_run_config(settings(aloha_gr1))
    assert register_run_config(settings(aloha_gr1)) is first


def test_unitree_g1_keeps_groots_own_config(aloha_gr1: Path) -> None:
    upstream = MODALITY_CONFIGS["unitree_g1"]
    assert register_run_config(settings(aloha_gr1, embodiment_tag="UNITREE_G1")) is upstream
    with pytest.raises(ConfigError, match="GR00T has a config of its own for UNITREE_G1"):
        register_run_config(settings(aloha_gr1, embodiment_tag="UNITREE_G1", modality_config_path=Path("mine.py")))


def test_two_files_of_one_name_are_both_read(tmp_path: Path) -> None:
    """GR00T imports by stem, and would use the first for both."""
    files = [tmp_path / folder / "config.py" for folder in ("a", "b")]
    for file, tag in zip(files, ("GR1", "NEW_EMBODIMENT"), strict=True):
        file.parent.mkdir()
        file.write_text(f"{OWN}register_modality_config({{'from': '{file.parent.name}'}}, EmbodimentTag.{tag})\n")
    assert register_run_config(settings(tmp_path, embodiment_tag="GR1", modality_config_path=files[0])) == {"from": "a"}
    assert register_run_config(settings(tmp_path, modality_config_path=files[1])) == {"from": "b"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("CONFIG = {}", "registers 0 modality configs; it must call register_modality_config once"),
        (
            f"{OWN}register_modality_config({{}}, EmbodimentTag.UNITREE_G1)",
            "cannot be imported: AssertionError: Embodiment tag EmbodimentTag.UNITREE_G1 already registered",
        ),
    ],
)
def test_a_config_that_does_not_register_is_an_error_with_its_path(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/mine.py {told}"):
        register_run_config(settings(tmp_path, modality_config_path=tmp_path / "mine.py"))


def test_no_config_at_all_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no modality config for NEW_EMBODIMENT, and .* has no modality_config\.py"):
        register_run_config(settings(tmp_path))
    with pytest.raises(ConfigError, match=r"no Python file at .*absent\.py"):
        register_run_config(settings(tmp_path, modality_config_path=tmp_path / "absent.py"))


def test_datasets_with_one_config_may_be_mixed_others_not(aloha_gr1: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for folder in (same, other):
        folder.mkdir()
        shutil.copy(aloha_gr1 / "modality_config.py", folder)
    text = (same / "modality_config.py").read_text()
    (same / "modality_config.py").write_text(text.replace("the map aloha_to_gr1", "another map"))
    (other / "modality_config.py").write_text(text.replace("range(16)", "range(8)"))
    register_run_config(settings(aloha_gr1, same))
    with pytest.raises(ConfigError, match=r"other/modality_config\.py differs from .*--modality-config-path"):
        register_run_config(settings(aloha_gr1, other))


def test_a_run_is_known_by_dataset_robot_and_horizon(aloha_gr1: Path) -> None:
    known = make_identity(settings(aloha_gr1))
    assert (known.robot, known.embodiment_tag, known.action_horizon) == ("gr1", "NEW_EMBODIMENT", 16)
    assert known.modality_keys[:2] == ("video.ego_view", "state.left_arm")


def test_a_users_module_is_found_by_its_name_in_loader_processes(tmp_path: Path) -> None:
    (tmp_path / "my_model_types.py").write_text("KIND = 'mine'\n")
    import_user_modules([tmp_path / "my_model_types.py", tmp_path / "my_model_types.py"])
    assert sys.modules["my_model_types"].KIND == "mine"
    assert str(tmp_path) in sys.path


@pytest.mark.parametrize(
    ("name", "told"),
    [("json.py", "a module 'json' is imported from"), ("absent.py", "no Python file"), ("bad.py", "ZeroDivisionError")],
)
def test_a_users_module_that_cannot_be_is_an_error(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "json.py").write_text("")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=told):
        import_user_modules([tmp_path / name])


def test_this_groot_is_n16() -> None:
    require_groot()


@pytest.mark.skipif("GR00T_SRC" not in os.environ, reason="NOT TESTED: set GR00T_SRC to the n1.6-release source")
def test_all_that_nvidias_launcher_sets_is_set(aloha_gr1: Path) -> None:
    from millrace.train.groot import config

    launcher = Path(os.environ["GR00T_SRC"]) / "gr00t/experiment/launch_finetune.py"
    targets = [node.targets[0] for node in ast.walk(ast.parse(launcher.read_text())) if isinstance(node, ast.Assign)]
    set_there = {ast.unparse(target) for target in targets if isinstance(target, ast.Attribute)}
    ours = {
        "model": config.model_values(settings(aloha_gr1), base=None),
        "data": config.take_values(settings(aloha_gr1), config.DATA_SETTINGS),
        "training": config.training_values(settings(aloha_gr1)),
    }
    set_here = {f"config.{part}.{name}" for part, values in ours.items() for name in values}
    assert set_there - set_here == {"config.load_config_path"}


def test_datasets_share_by_length_or_by_mix(tmp_path: Path) -> None:
    from millrace.train.groot.config import _datasets

    a, b = tmp_path / "a", tmp_path / "b"
    assert _datasets(settings(a, b)) == [
        {"dataset_paths": [str(a), str(b)], "mix_ratio": 1.0, "embodiment_tag": "new_embodiment"}
    ]
    assert [entry["mix_ratio"] for entry in _datasets(settings(a, b, mix=(3.0, 1.0)))] == [3.0, 1.0]


def test_precision_is_that_of_n16_on_gpus_and_plain_on_a_cpu(tmp_path: Path) -> None:
    from millrace.train.groot.config import training_values

    def chosen(**flags: Any) -> tuple[bool, bool]:
        values = training_values(settings(tmp_path, **flags))
        return values["bf16"], values["tf32"]

    assert chosen() == (True, True)
    assert chosen(precision="tf32") == (False, True)
    assert chosen(precision="fp32") == (False, False)
    assert chosen(cpu=True) == (False, False)


def test_nobody_trains_on_a_cpu_unasked(tmp_path: Path) -> None:
    import torch

    from millrace.train.groot.config import check_gpu

    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPUs")
    with pytest.raises(GpuMissing, match=r"torch .* sees no GPU on .*\. To train on a CPU pass --cpu$"):
        check_gpu(settings(tmp_path))
    check_gpu(settings(tmp_path, cpu=True))


def test_a_loss_that_is_no_number_is_seen_and_unused_heads_are_no_obstacle(tmp_path: Path) -> None:
    from millrace.train.groot.config import groot_config, training_arguments

    def chosen(**flags: Any) -> Any:
        asked = settings(tmp_path, output_dir=tmp_path, cpu=True, base_model_path=str(tmp_path), **flags)
        return training_arguments(asked, groot_config(asked))

    (tmp_path / "config.json").write_text('{"model_type": "Gr00tN1d6"}')
    assert not chosen().logging_nan_inf_filter
    assert not chosen().ddp_find_unused_parameters
    assert chosen(tune_visual=True).ddp_find_unused_parameters
    assert chosen(tune_llm=True).ddp_find_unused_parameters


def test_a_process_among_many_gpus_trains_on_one(tmp_path: Path) -> None:
    """Transformers would multiply the batch by all GPUs that it sees."""
    from transformers import TrainingArguments

    from millrace.train.groot.config import WorkerArguments

    batches = []
    for kind in (TrainingArguments, WorkerArguments):
        arguments = kind(output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True)
        arguments._n_gpu = 8  # as it is set on a machine with 8
        batches.append(arguments.train_batch_size)
    assert batches == [32, 4]


def test_a_resumed_run_has_the_batch_that_it_asks_for(tmp_path: Path) -> None:
    """Transformers goes on with the batch of the checkpoint."""
    import torch

    from millrace.train.groot.config import WorkerArguments
    from millrace.train.groot.trainer import MeteredTrainer

    class Ones(torch.utils.data.IterableDataset[Any]):
        seed = 0

        def __iter__(self) -> Iterator[Any]:
            return iter([{"values": torch.ones(1)}] * 100)

        def reset_seed(self, seed: int) -> None:
            pass

    class Noted(torch.nn.Linear):
        def forward(self, values: Any) -> Any:
            batches.append(len(values))
            return {"loss": super().forward(values).mean()}

    batches: list[int] = []
    for batch, steps, checkpoint in ((2, 1, None), (4, 3, str(tmp_path / "checkpoint-1"))):
        arguments = WorkerArguments(
            output_dir=str(tmp_path),
            max_steps=steps,
            per_device_train_batch_size=batch,
            use_cpu=True,
            report_to="none",
            ignore_data_skip=True,
        )
        trainer = MeteredTrainer(model=Noted(1, 1), args=arguments, train_dataset=Ones())
        trainer.train(resume_from_checkpoint=checkpoint)
    assert batches == [2, 4, 4]


def test_a_base_model_of_unknown_type_is_an_error(tmp_path: Path) -> None:
    from millrace.train.groot.config import read_model_config

    (tmp_path / "config.json").write_text('{"model_type": "never_registered"}')
    with pytest.raises(ConfigError, match=r"never_registered.*--import-module FILE\.py"):
        read_model_config(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"GR00T trains no BertConfig\. Known: .*Gr00tN1d6Config"):
        read_model_config(str(tmp_path))
    with pytest.raises(ConfigError, match=r"--base-model-path .*/absent: "):
        read_model_config(str(tmp_path / "absent"))
