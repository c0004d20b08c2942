"""The plan of a run: what is trained, how often each dataset is seen, what it takes of disk and memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import IMAGE_SIZE
from millrace.commands.finetune_output import describe_check
from millrace.commands.json_output import to_json_text
from millrace.train.preflight import preflight
from millrace.train.settings import FinetuneSettings
from support.synthetic import edit_json
from support.training_setups import (
    CONFIG,
    EVERYTHING,
    NUM_STEPS,
    codes,
    printed,
    replace_text,
    settings_of,
    write_base,
    write_earlier_run,
)

pytest_plugins = ["support.training_fixtures"]


def test_a_dataset_of_short_episodes_leaves_nothing_to_plan(dataset: Path, base: Path) -> None:
    replace_text(dataset / "modality_config.py", "range(16)", "range(56)")
    checked = preflight(settings_of(dataset, base), machine=EVERYTHING)
    assert {"episodes-too-short", "model-horizon", "relative-horizon"} <= codes(checked)
    assert checked.plan is None
    assert "no episode has the 56 frames of an action chunk" in printed(checked)


def test_checkpoints_of_an_earlier_run_already_lie_on_the_disk(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base, save_total_limit=5, max_steps=1000)
    one = 550 * 2 + 810 * 12
    machine = replace(EVERYTHING, disk_bytes=4 * one)
    assert codes(preflight(settings, machine=machine)) == {"disk"}
    write_earlier_run(settings)
    for step in (50, 100):
        (settings.run_folder / f"checkpoint-{step}").mkdir(parents=True)
        (settings.run_folder / f"checkpoint-{step}/COMPLETE").touch()
    assert codes(preflight(settings, machine=machine)) == set()


def test_the_plan_is_json_too(whole: Path, base: Path) -> None:
    checked = preflight(settings_of(whole, base), machine=EVERYTHING)
    found = json.loads(to_json_text(describe_check(checked)))
    (dataset,) = found["plan"]["datasets"]
    assert (found["is_valid"], found["problems"]) == (True, [])
    assert (dataset["path"], dataset["num_episodes"], dataset["share"]) == (str(whole), 3, 1)
    assert (found["plan"]["max_steps"], found["plan"]["batch"]["per_device"]) == (100, 32)


def test_groots_own_loader_also_holds_a_whole_episode(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base)
    plans = [preflight(replace(settings, stock_loader=stock), machine=EVERYTHING).plan for stock in (False, True)]
    ours, stock = (plan.needs.per_loader for plan in plans if plan is not None)
    assert stock - ours == 55 * IMAGE_SIZE**2 * 3


# An image of 256 x 256 bytes, or 252 x 252 in float32; padded state and action of 128 values, 50 steps of them with a
# mask of 8 bytes each.
IMAGE_BYTES = {"ours": 256**2 * 3, "GR00T's": 252**2 * 3 * 4}
JOINT_BYTES = 128 * 4 + 50 * 128 * (4 + 8)


@pytest.mark.parametrize("loader", IMAGE_BYTES)
def test_prefetched_batches_of_all_loader_processes_need_shared_memory(loader: str, whole: Path, base: Path) -> None:
    flags = {"num_gpus": 4, "dataloader_num_workers": 3, "gradient_accumulation_steps": 2}
    settings = settings_of(whole, base, **flags, stock_loader=loader == "GR00T's")
    plan = preflight(settings, machine=EVERYTHING).plan
    assert plan is not None
    batch = 4 * (IMAGE_BYTES[loader] + JOINT_BYTES)
    assert (plan.needs.per_batch, plan.needs.num_batches) == (batch, 4 * 3 * 2)
    assert f"= 24 batches x {batch / 1e9:.3f} GB" in printed(preflight(settings, machine=EVERYTHING))


@pytest.mark.parametrize(("pads", "squares"), [(False, 2), (True, 1)])
def test_images_that_keep_their_aspect_are_counted_whole(pads: bool, squares: int, dataset: Path, base: Path) -> None:
    edit_json(
        dataset / "meta/info.json",
        lambda info: info["features"]["observation.images.top"].update(shape=[64, 128, 3]),
    )
    edit_json(
        base / "processor_config.json",
        lambda content: content["processor_kwargs"].update(letter_box_transform=pads),
    )
    flags = {"shortest_image_edge": 512, "crop_fraction": 0.9, "gradient_accumulation_steps": 8}
    plan = preflight(settings_of(dataset, base, **flags), machine=EVERYTHING).plan
    assert plan is not None
    assert plan.needs.per_batch == 4 * (squares * 512**2 * 3 + JOINT_BYTES)


def test_too_little_shared_memory_is_an_error_that_says_how_to_have_more(whole: Path, base: Path) -> None:
    """Docker gives a container 64 MB."""
    settings = settings_of(whole, base, dataloader_num_workers=2)
    need = 2 * 2 * 32 * (IMAGE_BYTES["ours"] + JOINT_BYTES)
    enough, short = (replace(EVERYTHING, shared_bytes=size) for size in (need, need - 1))
    assert codes(preflight(settings, machine=enough)) == set()
    assert codes(preflight(settings, machine=replace(short, shared_bytes=None))) == set()
    assert codes(preflight(replace(settings, address="auto"), machine=short)) == {"cluster"}
    (found,) = preflight(settings, machine=short).problems
    assert found.code == "shared-memory"
    assert "(1 workers x 2 loader processes x 2 prefetched)" in found.message
    assert found.remedy is not None
    assert "--shm-size=2g or --ipc=host; or pass --dataloader-num-workers 1" in found.remedy
    assert codes(preflight(replace(settings, dataloader_num_workers=1), machine=short)) == set()
    assert (
        codes(preflight(replace(settings, dataloader_num_workers=0), machine=replace(short, shared_bytes=0))) == set()
    )


def test_mixed_datasets_are_seen_by_their_shares(whole: Path, dataset: Path, base: Path) -> None:
    settings = settings_of(whole, base, datasets=(whole, dataset), mix=(3.0, 1.0))
    plan = preflight(settings, machine=EVERYTHING).plan
    assert plan is not None
    assert [part.share for part in plan.datasets] == [0.75, 0.25]
    assert plan.datasets[0].passes(plan.num_samples) == pytest.approx(100 * 32 * 0.75 / NUM_STEPS)


def test_the_plan_names_what_is_trained_and_what_it_takes(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base, num_gpus=2, gradient_accumulation_steps=4)
    text = printed(preflight(settings, machine=EVERYTHING))
    assert "always: N1.6 trains the top 4 layers, also without --tune-llm" in text
    assert "32 = 4 per worker x 4 accumulated x 2 workers" in text
    assert "100 of 32 samples; 3.6 see all data once" in text
    assert "unmeasured" in text
    assert "1x RTX 4090 (24GB)" in text
    assert "ready to train" in text


def test_a_smoke_test_on_cpus_is_not_held_against_the_guides_gpus(tmp_path: Path, whole: Path) -> None:
    base = write_base(tmp_path / "mine", config={**CONFIG, "model_type": "mine"})
    settings = settings_of(whole, base, import_module=(Path("mine.py"),), cpu=True)
    assert "A100" not in printed(preflight(settings, machine=EVERYTHING))


def trained(settings: FinetuneSettings) -> dict[str, bool]:
    plan = preflight(settings, machine=EVERYTHING).plan
    assert plan is not None
    assert plan.components is not None
    assert sum(part.num_values for part in plan.components) == 810 + 550
    return {part.name: part.is_trained for part in plan.components}


def test_flags_decide_what_is_trained_but_for_the_top_layers(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base)
    parts = trained(settings)
    assert {name for name, is_on in parts.items() if not is_on} == {"vision encoder", "language model, other layers"}
    everything = trained(replace(settings, tune_llm=True, tune_visual=True))
    assert all(everything.values())
    little = trained(replace(settings, tune_projector=False, tune_diffusion_model=False))
    assert {name for name, is_on in little.items() if is_on} == {
        "language model, top layers",
        "norm of vision and language",
    }
