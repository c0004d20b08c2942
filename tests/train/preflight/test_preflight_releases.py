"""A run is judged for the release of GR00T that trains it: its tags, its flags, its model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.engine.dataset.releases import RELEASES, find_release
from millrace.train.groot.base_model import read_base
from millrace.train.installed import Installed
from millrace.train.preflight import preflight
from millrace.train.preflight.backbone import Unreachable
from support.groot_files import DEALS, DEALS_CAPPED, LAUNCHER_FLAGS, write_groot
from support.training_setups import CONFIG, EVERYTHING, NUM_STEPS, codes, settings_of

pytest_plugins = ["support.training_fixtures"]
OLD, NEW = RELEASES
FLAGS: dict[str, dict[str, Any]] = {
    "--skip-weight-loading": {"skip_weight_loading": True},
    "--use-percentiles": {"use_percentiles": True},
    "--shortest-image-edge": {"shortest_image_edge": 256, "crop_fraction": 0.9},
    "--crop-fraction": {"shortest_image_edge": 256, "crop_fraction": 0.9},
    "--ds-weights-alpha": {"ds_weights_alpha": 0.5},
}


@pytest.fixture
def new_base(base: Path) -> Path:
    """The base model as one of N1.7."""
    (base / "config.json").write_text(json.dumps({**CONFIG, "model_type": NEW.model_type}))
    return base


def test_a_sound_run_of_the_newer_release_has_no_problem(whole: Path, new_base: Path) -> None:
    for choice in ("auto", "n1.7"):
        settings = settings_of(whole, new_base, gr00t=choice)
        assert settings.release is NEW
        assert codes(preflight(settings, machine=EVERYTHING)) == set()


def test_a_robot_without_a_tag_is_named_with_what_to_pass_instead(whole: Path, new_base: Path) -> None:
    (found,) = preflight(settings_of(whole, new_base, embodiment_tag="gr1"), machine=EVERYTHING).problems
    assert found.code == "embodiment-tag"
    told = "GR1 is no tag of GR00T N1.7: there is none for this robot; train it as NEW_EMBODIMENT. Known: "
    assert found.message.startswith(f"--embodiment-tag {told}")
    assert found.message.endswith(", ".join(NEW.tag_names))


def test_the_model_of_another_release_is_refused(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base, gr00t="n1.7", import_module=(Path("mine.py"),))
    (found,) = preflight(settings, machine=EVERYTHING).problems
    assert found.code == "base-model-type"
    assert found.message.endswith("is of the type 'Gr00tN1d6', N1.7's is 'Gr00tN1d7': it is a model of N1.6")
    assert found.remedy == "Name a checkpoint of N1.7, such as nvidia/GR00T-N1.7-3B; or train with N1.6"


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_that_the_release_lacks_is_refused_by_name(flag: str, whole: Path, base: Path) -> None:
    found = preflight(settings_of(whole, base, **FLAGS[flag]), machine=EVERYTHING).problems
    assert f"{flag}: GR00T N1.6 has no such flag, N1.7 has" in {one.message for one in found}
    assert {one.code for one in found} == {"release-flag"}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_that_the_installed_build_lacks_is_refused_by_name(
    flag: str, whole: Path, new_base: Path, tmp_path: Path
) -> None:
    settings = settings_of(whole, new_base, **FLAGS[flag])
    name = flag.removeprefix("--").replace("-", "_")
    for number, flags in enumerate((LAUNCHER_FLAGS, tuple(set(LAUNCHER_FLAGS) - {name}))):
        package = write_groot(tmp_path / str(number), NEW, flags=flags) / "gr00t"
        machine = replace(EVERYTHING, installed=Installed((package,), NEW))
        found = preflight(settings, machine=machine).problems
        told = f"{flag}: the GR00T N1.7 in {package} has no such flag: FinetuneConfig has no {name}"
        assert [one.message for one in found] == ([] if number == 0 else [told])


def test_another_release_that_is_installed_says_nothing_of_the_flags(
    whole: Path, new_base: Path, tmp_path: Path
) -> None:
    package = write_groot(tmp_path, OLD, flags=()) / "gr00t"
    settings = settings_of(whole, new_base, use_percentiles=False)
    machine = replace(EVERYTHING, installed=Installed((package,), OLD))
    assert codes(preflight(settings, machine=machine)) == set()


def test_a_tag_that_the_release_has_a_config_for_is_known_by_name_and_value(whole: Path, new_base: Path) -> None:
    for text in ("LIBERO_PANDA", "libero_panda", "libero_sim"):
        settings = settings_of(whole, new_base, embodiment_tag=text, modality_config_path=Path("mine.py"))
        assert (settings.embodiment_tag, settings.tag) == ("LIBERO_PANDA", "libero_sim")
        found = {one.code: one.message for one in preflight(settings, machine=EVERYTHING).problems}
        assert found["tag-taken"].endswith("N1.7 has a config of its own for LIBERO_PANDA")


def test_chunks_are_judged_by_the_horizon_to_which_the_release_pads_them(whole: Path, base: Path) -> None:
    """The processor's own on N1.6; on N1.7 the model's, whatever the processor says."""
    horizons = {}
    for release in RELEASES:
        config = {**CONFIG, "model_type": release.model_type, "action_horizon": 15}
        (base / "config.json").write_text(json.dumps(config))
        found = preflight(settings_of(whole, base), machine=EVERYTHING).problems
        horizons[release.choice] = [one.message for one in found]
    assert horizons == {"n1.6": [], "n1.7": [f"has action chunks of 16 steps, {base} takes 15"]}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("n1.6", {"flash-attn": "N1.6's Eagle backbone needs flash-attn, which cannot be imported: no CUDA"}),
        ("n1.7", {"flash-attn-slow": "N1.7's Qwen3-VL backbone falls back to torch's attention: no CUDA"}),
    ],
)
def test_flash_attention_is_needed_or_not_as_the_release_has_it(
    choice: str, told: dict[str, str], whole: Path, base: Path
) -> None:
    release = find_release(choice)
    (base / "config.json").write_text(json.dumps({**CONFIG, "model_type": release.model_type}))
    machine = replace(EVERYTHING, broken={"flash_attn": "no CUDA"})
    checked = preflight(settings_of(whole, base), machine=machine)
    assert {one.code: one.message for one in checked.problems} == told
    assert checked.is_valid is not release.needs_flash_attention


def test_a_backbone_out_of_reach_stops_the_run_with_what_to_do(whole: Path, new_base: Path) -> None:
    machine = replace(EVERYTHING, no_backbone=Unreachable("nvidia/X is gated, and there is no token", "Log in"))
    (found,) = preflight(settings_of(whole, new_base), machine=machine).problems
    assert (found.code, found.severity, found.remedy) == ("backbone", "error", "Log in")
    assert found.message == "N1.7's Qwen3-VL backbone: nvidia/X is gated, and there is no token"


def test_the_backbone_is_the_base_models_own(base: Path, new_base: Path) -> None:
    assert read_base(str(new_base), NEW).backbone == NEW.gated_backbone == "nvidia/Cosmos-Reason2-2B"
    own = {**CONFIG, "model_type": NEW.model_type, "model_name": "/models/Qwen/Qwen3-VL-tiny"}
    (new_base / "config.json").write_text(json.dumps(own))
    assert read_base(str(new_base), NEW).backbone == "/models/Qwen/Qwen3-VL-tiny"
    for model_type in (OLD.model_type, "mine"):
        (base / "config.json").write_text(json.dumps({**CONFIG, "model_type": model_type, "model_name": "a/b"}))
        assert read_base(str(base), OLD).backbone is None


VERSIONS = {
    "python": "3.12",
    "torch": "2.9.0+cu128",
    "transformers": "4.57.3",
    "torchcodec": None,
    "flash-attn": "2.7.4.post1",
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"python": "3.10", "torch": "2.7.1"}, []),
        ({"torch": "2.7.1"}, ["GR00T N1.7 on Python 3.12 pins other versions: torch 2.7.1, not 2.9.0"]),
        ({"python": "3.13"}, ["GR00T N1.7 has no build for Python 3.13; it has for 3.12, 3.10"]),
    ],
)
def test_other_versions_than_those_that_the_release_pins_are_a_warning(
    changes: dict[str, str], told: list[str], whole: Path, new_base: Path
) -> None:
    machine = replace(EVERYTHING, versions={**VERSIONS, **changes})
    checked = preflight(settings_of(whole, new_base), machine=machine)
    assert [one.message for one in checked.problems] == told
    assert checked.is_valid


def test_remedies_name_the_pins_of_the_build_for_this_python(whole: Path, new_base: Path) -> None:
    for python, pin in (("3.12", "flash-attn==2.8.3"), ("3.10", "flash-attn==2.7.4.post1")):
        versions = {"python": python}
        machine = replace(EVERYTHING, versions=versions, broken={"flash_attn": "no CUDA"})
        (found,) = preflight(settings_of(whole, new_base), machine=machine).problems
        assert found.remedy.startswith(f"pip install {pin} ")


def test_a_tag_that_the_installed_build_lacks_is_refused(whole: Path, new_base: Path, tmp_path: Path) -> None:
    package = write_groot(tmp_path, NEW, without_tags=("UNITREE_G1_SONIC",)) / "gr00t"
    machine = replace(EVERYTHING, installed=Installed((package,), NEW))
    found = preflight(settings_of(whole, new_base, embodiment_tag="unitree_g1_sonic"), machine=machine).problems
    told = f"--embodiment-tag UNITREE_G1_SONIC: the GR00T N1.7 in {package} is an earlier build, without this tag"
    assert told in {one.message for one in found}
    assert codes(preflight(settings_of(whole, new_base, embodiment_tag="xdof"), machine=machine)) == set()


def test_more_shards_than_parts_of_episodes_stop_earlier_builds_only(
    whole: Path, new_base: Path, tmp_path: Path
) -> None:
    settings = settings_of(whole, new_base, shard_size=1)
    for deals, expected, num_shards in ((DEALS, {"shards"}, NUM_STEPS), (DEALS_CAPPED, set(), 30)):
        package = write_groot(tmp_path, NEW, deals=deals) / "gr00t"
        checked = preflight(settings, machine=replace(EVERYTHING, installed=Installed((package,), NEW)))
        assert codes(checked) == expected
        assert checked.plan is not None
        assert checked.plan.datasets[0].sharding.num_shards == num_shards
