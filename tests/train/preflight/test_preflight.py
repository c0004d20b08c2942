"""Every check of preflight notices what breaks it, all of them at once, and says what to do; nothing is raised."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import data_path, video_path
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.dataset.releases import find_release
from millrace.engine.validate import validate
from millrace.train.installed import Installed
from millrace.train.preflight import CHECKS, Machine, keep_full_checks, preflight, preflight_without_data
from millrace.train.preflight.backbone import Unreachable
from millrace.train.preflight.gpus import Gpus
from support.broken_datasets import add_wide_camera
from support.groot_files import write_groot
from support.synthetic import edit_jsonl, rewrite_parquet, write_dataset
from support.training_setups import (
    CONFIG,
    EVERYTHING,
    GB,
    N1D6_SHAPES,
    PROCESSOR,
    codes,
    gpus_of,
    printed,
    replace_text,
    settings_of,
    write_base,
    write_earlier_run,
    write_statistics,
)

pytest_plugins = ["support.training_fixtures"]

Files = Callable[[Path, Path], None]


def test_a_sound_run_has_no_problem_and_a_plan(whole: Path, base: Path) -> None:
    checked = preflight(settings_of(whole, base), machine=EVERYTHING)
    assert codes(checked) == set()
    assert checked.plan is not None


def other_base(**changes: Any) -> Files:
    """A base model with other values of config.json."""
    return lambda dataset, base: (base / "config.json").write_text(json.dumps({**CONFIG, **changes})) and None


def other_processor(**changes: Any) -> Files:
    """A base model with other values of processor_config.json."""
    content = json.dumps({"processor_kwargs": {**PROCESSOR, **changes}})
    return lambda dataset, base: (base / "processor_config.json").write_text(content) and None


def drop(part: str) -> Files:
    return lambda dataset, base: (base.parent / part).unlink()


def untouched(dataset: Path, base: Path) -> None:
    pass


def second_dataset_of_another_config(dataset: Path, base: Path) -> None:
    shutil.copytree(dataset, base.parent / "second")
    replace_text(base.parent / "second/modality_config.py", "range(16)", "range(8)")


def dynamic_config(dataset: Path, base: Path) -> None:
    replace_text(dataset / "modality_config.py", "CONFIG = {", "raise RuntimeError\nCONFIG = {")


def gpu_of(num_bytes: float) -> Mapping[str, Any]:
    return {"gpus": gpus_of("small", int(num_bytes))}


def lacks(package: str) -> Mapping[str, Any]:
    """A machine on which a package is installed that cannot be imported."""
    return {"broken": {package: f"ImportError: {package}.so: undefined symbol: _ZN3c10"}}


def earlier_run(**other: Any) -> Files:
    """A run of the same dataset that left its identity, but for what is given."""

    return lambda dataset, base: write_earlier_run(settings_of(dataset, base), **other)


def checked_before(dataset: Path, base: Path) -> None:
    for path in dataset.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    settings = settings_of(dataset, base)
    keep_full_checks(settings.run_folder, preflight(settings, machine=EVERYTHING).full_checks)


# What is broken: files, then flags, then the machine; and a part of what is said about it.
BREAKS: dict[str, tuple[Files, Mapping[str, Any], Mapping[str, Any], str]] = {
    "other-run": (earlier_run(action_horizon=30), {}, {}, "run was created with action horizon 30, not 16"),
    "embodiment-tag": (untouched, {"embodiment_tag": "ALOHA"}, {}, "Known: NEW_EMBODIMENT, GR1"),
    "release-flag": (
        untouched,
        {"skip_weight_loading": True},
        {},
        "--skip-weight-loading: GR00T N1.6 has no such flag, N1.7 has",
    ),
    "tag-unregistered": (
        drop("dataset/modality_config.py"),
        {},
        {},
        "Embodiment tag not found: N1.6 has no modality config for NEW_EMBODIMENT",
    ),
    "tag-taken": (
        untouched,
        {"embodiment_tag": "UNITREE_G1", "modality_config_path": Path("mine.py")},
        {},
        "a config of its own for UNITREE_G1",
    ),
    "tag-projector": (other_base(max_num_embodiments=12), {"embodiment_tag": "GR1"}, {}, "projector 20"),
    "configs-differ": (second_dataset_of_another_config, {"datasets": ("dataset", "second")}, {}, "something else"),
    "config-unread": (dynamic_config, {}, {}, "only by running it, which failed ("),
    "data-unchanged": (checked_before, {}, {}, "were checked in full at 20"),
    "camera-aspects": (
        lambda dataset, base: add_wide_camera(dataset),
        {"shortest_image_edge": 256, "crop_fraction": 0.9},
        {},
        "keeps the aspect of images, but the dataset trains on cameras of several aspects: top 64x64, wrist 64x32",
    ),
    "base-model": (drop("base/processor_config.json"), {}, {}, "base has no processor_config.json"),
    "base-model-type": (other_base(model_type="mine"), {}, {}, "'mine'"),
    "backbone": (
        other_base(model_type="Gr00tN1d7"),
        {},
        {"no_backbone": Unreachable("nvidia/Cosmos-Reason2-2B is gated", "Log in")},
        "Qwen3-VL backbone: nvidia/Cosmos-Reason2-2B is gated",
    ),
    "base-model-weights": (drop("base/model.safetensors"), {}, {}, "neither model.safetensors nor"),
    "base-statistics": (
        lambda dataset, base: write_statistics(base, state={"left_arm": 6, "left_gripper": 2}),
        {"override_pretraining_statistics": False},
        {},
        "base for NEW_EMBODIMENT: state left_gripper of 2 values, not 1, no state right_arm, no state right_gripper, ",
    ),
    "model-dims": (other_base(max_state_dim=13), {}, {}, "trains 14 state values (left_arm 6, left_gripper 1, "),
    "model-horizon": (other_processor(max_action_horizon=15), {}, {}, "chunks of 16 steps, "),
    "batch": (untouched, {"global_batch_size": 30, "num_gpus": 4}, {}, "not a multiple of 4 workers x 1"),
    "shards": (untouched, {"shard_size": 1}, {}, "115 steps make 115 shards of 1, but episodes are cut into 30 parts"),
    "shards-per-epoch": (untouched, {"num_shards_per_epoch": 3, "dataloader_num_workers": 4}, {}, "of 4 loaders"),
    "learning-rate": (untouched, {"learning_rate": 1e-7}, {}, "1e-07 is more than 100 times off"),
    "groot": (untouched, {}, {"why_no_groot": "no gr00t"}, "no gr00t"),
    "flash-attn": (
        untouched,
        {},
        lacks("flash_attn"),
        "flash-attn, which cannot be imported: ImportError: flash_attn.so",
    ),
    "flash-attn-slow": (other_base(model_type="Gr00tN1d7"), {}, lacks("flash_attn"), "falls back to torch's attention"),
    "versions": (untouched, {}, {"versions": {"python": "3.13"}}, "N1.6 has no build for Python 3.13"),
    "flash-attn-gpu": (untouched, {"cpu": True}, {}, "needs a GPU"),
    "video-backend": (
        untouched,
        {"stock_loader": True},
        {"broken": {"torchcodec": "libavutil.so.59: cannot open shared object file"}},
        "libavutil.so.59",
    ),
    "gpus": (untouched, {"num_gpus": 2}, {"gpus": gpus_of("A100", 80 * GB)}, "--num-gpus 2, but this machine has 1"),
    "torch-gpus": (
        untouched,
        {"num_gpus": 2},
        {"gpus": Gpus((), 8, "torch 2.7.1+cpu sees 0: Torch not compiled with CUDA enabled")},
        "--num-gpus 2: nvidia-smi lists 8 GPUs, torch 2.7.1+cpu sees 0: Torch not compiled with CUDA enabled",
    ),
    "precision": (
        untouched,
        {},
        {"gpus": replace(gpus_of("V100", 80 * GB), has_bf16=False)},
        "V100 does not compute in bf16, the default",
    ),
    # 810 trained weights at 16 bytes, 550 frozen ones at 2.
    "gpu-memory": (untouched, {"global_batch_size": 1}, gpu_of(10_000), "CUDA out of memory"),
    "gpu-memory-batch": (untouched, {}, gpu_of(8e9), "11 GB (by a formula, unmeasured) of 8 GB"),
    "memory": (untouched, {}, {"memory_bytes": GB}, "1.0 GB of memory are available"),
    "shared-memory": (
        untouched,
        {"dataloader_num_workers": 4},
        {"shared_bytes": 64 << 20},
        "/dev/shm has 0.07 GB free, 8 batches of ",
    ),
    "disk": (untouched, {"save_total_limit": 5, "max_steps": 10**6}, {"disk_bytes": 30_000}, "6 checkpoints"),
    "output-dir": (untouched, {}, {"why_not_writable": "/ is read-only"}, "/ is read-only"),
    "deepspeed": (
        untouched,
        {"num_gpus": 2},
        lacks("deepspeed"),
        "--num-gpus 2 trains with DeepSpeed, which cannot be",
    ),
    "tensorboard": (untouched, {"tensorboard": True}, lacks("tensorboard"), "--tensorboard, but it cannot be imported"),
    "wandb": (untouched, {"use_wandb": True}, {"has_wandb_login": False}, "nobody is logged in"),
    "cluster": (untouched, {"address": "auto"}, {}, "behind --address auto"),
}


def test_every_check_is_broken_here() -> None:
    assert set(BREAKS) == set(CHECKS) - {"tag-keys"}  # which needs a config of GR00T: see test_tag_keys.py


@pytest.mark.parametrize("code", BREAKS)
def test_each_check_notices_what_breaks_it(code: str, dataset: Path, base: Path) -> None:
    files, flags, machine, told = BREAKS[code]
    files(dataset, base)
    if "datasets" in flags:
        flags = {**flags, "datasets": tuple(base.parent / name for name in flags["datasets"])}
    checked = preflight(settings_of(dataset, base, **flags), machine=replace(EVERYTHING, **machine))
    found = {found.code: found for found in checked.problems}
    assert told in found[code].message
    assert found[code].remedy
    assert found[code].severity == CHECKS[code].severity


def test_all_problems_are_told_at_once(dataset: Path, base: Path) -> None:
    (dataset / "meta/tasks.jsonl").write_text("\n")
    video_path(dataset, 1).unlink()
    edit_jsonl(dataset / "meta/episodes.jsonl", lambda lines: lines[2].update(length=99))
    (base / "config.json").unlink()
    machine = Machine(
        memory_bytes=GB,
        disk_bytes=GB,
        gpus=Gpus(),
        why_no_groot="no gr00t",
        broken={},
        has_wandb_login=False,
        why_not_writable="/ is read-only",
        shared_bytes=0,
    )
    settings = settings_of(
        dataset, base, use_wandb=True, global_batch_size=7, num_gpus=4, shard_size=1, num_shards_per_epoch=1
    )
    checked = preflight(settings, machine=machine)
    expected = {"jsonl-blank", "video-missing", "rows-length", "base-model", "batch", "shards", "shards-per-epoch"}
    assert expected | {"groot", "wandb", "gpus", "memory", "shared-memory", "disk", "output-dir"} <= codes(checked)


def test_data_is_judged_by_the_modality_config_that_is_trained(dataset: Path, base: Path) -> None:
    mine = base.parent / "mine.py"
    shutil.copy(dataset / "modality_config.py", mine)
    replace_text(mine, '"left_gripper",', '"left_hand",')
    checked = preflight(settings_of(dataset, base, modality_config_path=mine), machine=EVERYTHING)
    (found,) = (found for found in checked.problems if found.code == "config-keys" and "state" in found.message)
    assert found.path == mine
    assert found.message.startswith("state names left_hand, which modality.json lacks")


def test_validate_takes_a_config_in_place_of_the_datasets_own(dataset: Path) -> None:
    config = read_config(dataset)
    replace_text(dataset / "modality_config.py", '"left_gripper",', '"left_hand",')
    assert "config-keys" in {found.code for found in validate(dataset).problems}
    assert validate(dataset, config=config).is_valid


def test_sine_and_cosine_double_a_state_where_the_processor_has_them(dataset: Path, base: Path) -> None:
    replace_text(
        dataset / "modality_config.py",
        '"state": ModalityConfig(',
        '"state": ModalityConfig(sin_cos_embedding_keys=["left_arm", "right_arm"], ',
    )
    other_processor(max_state_dim=25)(dataset, base)
    (found,) = preflight(settings_of(dataset, base), machine=EVERYTHING).problems
    assert found.code == "model-dims"
    assert "26 state values (left_arm 12, left_gripper 1, right_arm 12, right_gripper 1)" in found.message
    other_processor(max_state_dim=25, apply_sincos_state_encoding=False)(dataset, base)
    assert not preflight(settings_of(dataset, base), machine=EVERYTHING).problems


@pytest.mark.parametrize(
    ("other", "flags"),
    [
        ({"digests": ("b" * 64,)}, {}),
        ({"base_model": "mine", "base_digest": "c" * 64}, {}),
        ({"embodiment_tag": "GR1"}, {}),
        ({"modality_keys": ("state.left_arm",)}, {}),
        ({"optimizer": "in shares of 8 workers, by DeepSpeed's stage 2"}, {}),
    ],
)
def test_another_run_in_the_folder_is_told_before_the_data_is_read(
    dataset: Path, base: Path, other: Mapping[str, Any], flags: Mapping[str, Any]
) -> None:
    earlier_run(**other)(dataset, base)
    settings = settings_of(dataset, base, **flags)
    (settings.run_folder / "checkpoint-10").mkdir()
    (settings.run_folder / "checkpoint-10/COMPLETE").touch()
    seen: list[str] = []
    checked = preflight(settings, machine=EVERYTHING, on_progress=lambda stage, done, of: seen.append(stage))
    assert codes(checked) == {"other-run"}
    assert not seen
    assert codes(preflight(replace(settings, overwrite=True), machine=EVERYTHING)) == set()


def test_an_earlier_run_is_told_with_its_remedy_whatever_its_folder_is_called(
    dataset: Path, base: Path, tmp_path: Path
) -> None:
    settings = settings_of(dataset, base, output_dir=tmp_path / "v1. final")
    write_earlier_run(settings, action_horizon=30)
    (found,) = preflight(settings, machine=EVERYTHING).problems
    assert found.message == f"{settings.run_folder} was created with action horizon 30, not 16"
    assert found.remedy == "Choose another --output-dir, or pass --overwrite to delete what it holds"


def test_the_same_run_is_continued(dataset: Path, base: Path) -> None:
    earlier_run()(dataset, base)
    assert codes(preflight(settings_of(dataset, base), machine=EVERYTHING)) == set()


def test_a_run_is_judged_before_its_dataset_is_made(dataset: Path, base: Path) -> None:
    earlier_run(embodiment_tag="GR1")(dataset, base)
    shutil.rmtree(dataset)
    settings = settings_of(dataset, base, num_gpus=2, use_wandb=True, global_batch_size=7)
    broken = replace(EVERYTHING, gpus=Gpus(), has_wandb_login=False, disk_bytes=0, why_not_writable="/ is read-only")
    found = {found.code for found in preflight_without_data(settings, machine=broken).problems}
    assert found == {"other-run", "batch", "wandb", "gpus", "disk", "output-dir"}
    sound = replace(settings, overwrite=True, global_batch_size=8)
    assert not preflight_without_data(sound, machine=EVERYTHING).problems
    (base / "config.json").unlink()
    assert [found.code for found in preflight_without_data(sound, machine=EVERYTHING).problems] == ["base-model"]


def test_nobody_trains_on_a_cpu_unasked(whole: Path, base: Path) -> None:
    other_base(model_type="mine")(whole, base)
    settings = settings_of(whole, base, import_module=(Path("mine.py"),), num_gpus=0)
    (found,) = preflight(settings, machine=replace(EVERYTHING, gpus=Gpus())).problems
    assert found.message == "--num-gpus 0 trains in this process, but this machine has no GPU"
    assert "pass --cpu" in found.remedy
    assert codes(preflight(replace(settings, cpu=True), machine=replace(EVERYTHING, gpus=Gpus()))) == set()


def test_memory_must_hold_the_model_of_every_worker(whole: Path, tmp_path: Path) -> None:
    settings = settings_of(whole, write_base(tmp_path / "n1d6", shapes=N1D6_SHAPES), num_gpus=8)
    (found,) = preflight(settings, machine=replace(EVERYTHING, memory_bytes=80 * GB)).problems
    assert found.code == "memory"
    assert found.message.startswith("8 workers, each of which loads the model into 11.1 GB, need 88.9 GB, 80.0 GB")
    assert codes(preflight(settings, machine=replace(EVERYTHING, memory_bytes=100 * GB))) == set()


def test_a_model_type_of_ones_own_needs_neither_flash_attn_nor_a_gpu(whole: Path, base: Path) -> None:
    other_base(model_type="mine")(whole, base)
    settings = settings_of(whole, base, import_module=(Path("mine.py"),), cpu=True, num_gpus=2)
    assert codes(preflight(settings, machine=replace(EVERYTHING, gpus=Gpus()))) == set()


def follow_config(dataset: Path) -> None:
    """Name fewer delta_indices; delete statistics of others."""
    replace_text(dataset / "modality_config.py", "range(16)", "range(8)")
    (dataset / "meta/relative_stats.json").unlink()


def follow_tasks(dataset: Path) -> None:
    """Fix meta/tasks.jsonl, and write the tasks into meta/episodes.jsonl."""
    edit_jsonl(dataset / "meta/tasks.jsonl", lambda lines: lines[0].update(task="Open the drawer."))
    edit_jsonl(
        dataset / "meta/episodes.jsonl",
        lambda lines: [line.update(tasks=["Open the drawer."]) for line in lines] and None,
    )


def follow_blank_lines(dataset: Path) -> None:
    """Remove the blank lines of a file that had some when it was listed."""
    file = dataset / "meta/episodes_stats.jsonl"
    file.write_text(file.read_text().rstrip("\n"))


def follow_statistics(dataset: Path) -> None:
    """Delete the file: GR00T computes it again."""
    (dataset / "meta/stats.json").unlink()


def follow_digests(dataset: Path) -> None:
    """Rows that were changed on purpose."""
    rewrite_parquet(data_path(dataset, 1), lambda table: table.replace_schema_metadata({"fixed": "by hand"}))
    (dataset / "millrace.json").unlink()


@pytest.mark.parametrize(
    ("follow", "warned"),
    [
        (follow_config, {"digests-text", "stats-missing"}),
        (follow_tasks, {"digests-text"}),
        (follow_blank_lines, {"digests-text"}),
        (follow_statistics, {"stats-missing"}),
        (follow_digests, set()),
    ],
)
def test_whoever_follows_a_remedy_may_train(
    follow: Callable[[Path], None], warned: set[str], whole: Path, base: Path, tmp_path: Path
) -> None:
    listed = Path(shutil.copytree(whole, tmp_path / "listed"))
    follow(listed)
    checked = preflight(settings_of(listed, base), machine=EVERYTHING)
    assert checked.is_valid
    assert codes(checked) == warned


def test_rows_that_were_changed_need_a_word_of_it(whole: Path, base: Path, tmp_path: Path) -> None:
    listed = Path(shutil.copytree(whole, tmp_path / "listed"))
    rewrite_parquet(data_path(listed, 1), lambda table: table.replace_schema_metadata({"fixed": "by hand"}))
    (found,) = preflight(settings_of(listed, base), machine=EVERYTHING).errors
    assert found.code == "digests"
    assert "if the file was changed on purpose, delete millrace.json" in found.remedy


def test_a_file_that_is_missing_is_named_and_not_what_takes_its_place(whole: Path, base: Path, tmp_path: Path) -> None:
    listed = Path(shutil.copytree(whole, tmp_path / "listed"))
    (listed / "modality_config.py").unlink()
    checked = preflight(settings_of(listed, base, import_module=(Path("mine.py"),)), machine=EVERYTHING)
    (found,) = (found for found in checked.problems if found.code == "digests-text")
    assert found.path == listed / "modality_config.py"


def test_statistics_that_gr00t_laid_out_anew_are_no_problem(whole: Path, base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "trained_before"))
    file = copy / "meta/relative_stats.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert "digests-text" in {found.code for found in validate(copy).problems}
    assert codes(preflight(settings_of(copy, base), machine=EVERYTHING)) == set()


@pytest.mark.parametrize("has_fingerprints", [False, True])
def test_other_steps_are_refused_unless_the_run_makes_a_view_with_their_statistics(
    has_fingerprints: bool, whole: Path, base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "short.py"
    config.write_text((whole / "modality_config.py").read_text().replace("range(16)", "range(8)"))
    package = write_groot(tmp_path / "installed", find_release("n1.6"), has_fingerprints=has_fingerprints) / "gr00t"
    machine = replace(EVERYTHING, installed=Installed((package,), find_release("n1.6")))
    checked = preflight(settings_of(whole, base, modality_config_path=config), machine=machine)
    assert codes(checked) == (set() if has_fingerprints else {"relative-horizon"})


def test_fingerprints_that_a_view_replaces_are_no_problem(whole: Path, base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "trained_before"))
    file = copy / "meta/relative_stats.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), FINGERPRINTS: {}}))
    assert "relative-fingerprints" in {found.code for found in validate(copy).problems}
    assert codes(preflight(settings_of(copy, base), machine=EVERYTHING)) == set()


def test_what_is_no_dataset_is_told_like_all_else(base: Path, tmp_path: Path) -> None:
    checked = preflight(settings_of(tmp_path / "nowhere", base, global_batch_size=7, num_gpus=2), machine=EVERYTHING)
    assert {"dataset-missing", "tag-unregistered", "batch"} == codes(checked)
    assert checked.plan is None


def test_lerobot_v3_is_refused_with_the_conversion(base: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "v30", version="v3.0", lengths=(3,), cameras=())
    told = printed(preflight(settings_of(tmp_path / "v30", base), machine=EVERYTHING), width=1000)
    assert f"which GR00T does not read: millrace convert {tmp_path / 'v30'} OUT --layout v2.1" in told


def test_problems_are_printed_one_a_line_with_markup_as_it_is(whole: Path, base: Path) -> None:
    settings = replace(settings_of(whole, base), base_model_path="[bold]no/such/model")
    text = printed(preflight(settings, machine=EVERYTHING), width=40)
    assert "base-model  there is no folder [bold]no/such/model, and no model on the Hub can have that name\n" in text
    assert "ready to train" not in text
