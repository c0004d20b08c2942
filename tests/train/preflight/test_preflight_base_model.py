"""What preflight reads of a base model, in a folder or in the Hub's cache, and what it says of a broken one."""

from pathlib import Path

import pytest

from millrace.engine.dataset.releases import RELEASES, Release
from millrace.train.checkpoint_files import HubCheckpoint, LocalCheckpoint, open_checkpoint_files
from millrace.train.errors import ConfigError
from millrace.train.groot.base_model import read_base
from millrace.train.preflight import preflight
from support.training_setups import (
    CONFIG,
    EVERYTHING,
    PROCESSOR,
    SHAPES,
    settings_of,
    write_base,
    write_statistics,
    write_weights,
)

pytest_plugins = ["support.training_fixtures"]


def cached(folder: Path, name: str) -> Path:
    """A model as the Hub's cache holds it."""
    root = folder / f"models--{name.replace('/', '--')}"
    snapshot = write_base(root / "snapshots/0a1b")
    (snapshot / "embodiment_id.json").write_text('{"new_embodiment": 10}')
    (root / "refs").mkdir()
    (root / "refs/main").write_text("0a1b")
    return snapshot


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_model_on_the_hub_is_read_from_the_cache(hub_cache: Path) -> None:
    cached(hub_cache, "nvidia/GR00T-N1.6-3B")
    base = read_base("nvidia/GR00T-N1.6-3B", RELEASES[0])
    assert base.limits.max_dims == {"state": 128, "action": 128}
    assert base.weights is not None
    assert len(base.weights) == len(SHAPES)


def test_a_model_that_is_not_cached_says_so_when_the_hub_is_out_of_reach(hub_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.json is not in the Hub's cache, and the Hub is not reached"):
        read_base("nvidia/GR00T-N1.6-3B", RELEASES[0])


def test_a_cached_model_without_weights_is_read_without_them(hub_cache: Path) -> None:
    (cached(hub_cache, "nvidia/GR00T-N1.6-3B") / "model.safetensors").unlink()
    base = read_base("nvidia/GR00T-N1.6-3B", RELEASES[0])
    assert base.weights is None
    assert "its weights are not in the Hub's cache" in str(base.why_no_weights)


def test_a_folder_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_base(tmp_path / "nvidia/GR00T-N1.6-3B")
    assert isinstance(open_checkpoint_files("nvidia/GR00T-N1.6-3B"), HubCheckpoint)
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_checkpoint_files("nvidia/GR00T-N1.6-3B"), LocalCheckpoint)


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    (base / "model.safetensors").unlink()
    names = list(SHAPES)
    halves = {"model-1.safetensors": names[:4], "model-2.safetensors": names[4:]}
    for file, part in halves.items():
        write_weights(base / file, {name: SHAPES[name] for name in part})
    index = {name: file for file, part in halves.items() for name in part}
    (base / "model.safetensors.index.json").write_text(str({"weight_map": index}).replace("'", '"'))
    weights = read_base(str(base), RELEASES[0]).weights
    assert weights is not None
    assert {weight.name for weight in weights} == set(SHAPES)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 20, b"\x02" + b"\x00" * 7 + b"[]", b"\x05" + b"\x00" * 7 + b'{"a"}']
)
def test_a_file_that_is_no_safetensors_leaves_the_weights_unknown(content: bytes, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    (base / "model.safetensors").write_bytes(content)
    found = read_base(str(base), RELEASES[0])
    assert found.weights is None
    assert "model.safetensors is no safetensors file" in str(found.why_no_weights)


@pytest.mark.parametrize(
    ("filename", "text", "told"),
    [
        ("config.json", "{", "config.json: Invalid JSON"),
        ("config.json", '{"max_state_dim": 128}', "config.json: model_type: Field required"),
        (
            "processor_config.json",
            '{"processor_kwargs": {"max_action_dim": "many"}}',
            "max_action_dim: Input should be",
        ),
        ("embodiment_id.json", '{"gr1": "twenty"}', "embodiment_id.json: gr1: Input should be"),
    ],
)
def test_a_broken_file_of_a_base_model_is_named(filename: str, text: str, told: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", config=CONFIG, processor=PROCESSOR)
    (base / filename).write_text(text)
    with pytest.raises(ConfigError) as error:
        read_base(str(base), RELEASES[0])
    assert told in str(error.value)


def test_statistics_of_the_base_model_are_kept_where_they_fit(whole: Path, base: Path) -> None:
    settings = settings_of(whole, base, override_pretraining_statistics=False)
    assert not preflight(settings, machine=EVERYTHING).problems  # it has none for the tag
    groups = {"left_arm": 6, "left_gripper": 1, "right_arm": 6, "right_gripper": 1}
    arms = {"left_arm": 16, "right_arm": 16}
    write_statistics(base, state=groups, action=groups, relative_action=arms)
    assert not preflight(settings, machine=EVERYTHING).problems
    write_statistics(base, state=groups, action=groups, relative_action={"left_arm": 8})
    (found,) = preflight(settings, machine=EVERYTHING).problems
    assert found.message.endswith(": no relative action left_arm of 16 steps, but of 8, no relative action right_arm")
    (base / "statistics.json").write_text("{")
    (found,) = preflight(settings, machine=EVERYTHING).problems
    assert f"{base}: statistics.json: Invalid JSON: EOF while parsing" in found.message


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.choice)
def test_what_a_base_model_leaves_out_is_as_its_release_has_it(release: Release, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", config={"model_type": release.model_type, "max_state_dim": 17}, processor={})
    found = read_base(str(base), release)
    assert found.is_own_type
    assert found.config.model_dump() == {
        "model_type": release.model_type,
        "model_name": None,
        **release.config_defaults,
        "max_state_dim": 17,
    }
    defaults = found.processor.model_dump()
    assert {name: defaults[name] for name in release.processor_defaults} == release.processor_defaults
    assert found.projectors["new_embodiment"] == 10
