"""What Millrace knows of a release of GR00T is what the installed one says: tags, projectors, defaults, shards."""

import inspect
import io
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from millrace.engine.dataset.releases import Release
from millrace.train.installed import Installed, find_installed
from millrace.train.preflight import preflight
from support.training_setups import CONFIG, EVERYTHING, settings_of, write_base

pytestmark = pytest.mark.skipif(find_spec("gr00t") is None, reason="NOT TESTED: needs gr00t")
pytest_plugins = ["support.training_fixtures"]
# Tags that builds after the release's first one have.
LATER_TAGS = {"UNITREE_G1_SONIC", "ROBOCASA_PANDA_OMRON", "ROBOCASA_GR1_TABLETOP"}


@pytest.fixture
def installed() -> Installed:
    found = find_installed()
    assert found is not None
    return found


@pytest.fixture
def release(installed: Installed) -> Release:
    assert installed.release is not None
    return installed.release


def own_class(release: Release, kind: str) -> Any:
    """Config or Processor of the release's model."""
    modules = {"Config": f"configs.model.gr00t_{release.package}"}
    path = modules.get(kind, f"model.gr00t_{release.package}.processing_gr00t_{release.package}")
    return getattr(import_module(f"gr00t.{path}"), f"{release.model_type}{kind}")


def test_tags_projectors_and_configs_are_those_of_the_installed_build(installed: Installed, release: Release) -> None:
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
    from gr00t.data.embodiment_tags import EmbodimentTag

    theirs = {member.name: member.value for member in EmbodimentTag}
    ours = {tag.name: tag for tag in release.tags}
    assert {name: ours[name].value for name in theirs} == theirs
    assert set(ours) - set(theirs) <= LATER_TAGS
    assert {name for name in ours if installed.has_tag(name)} == set(theirs)
    processing = import_module(own_class(release, "Processor").__module__)
    projectors = processing.EMBODIMENT_TAG_TO_PROJECTOR_INDEX
    assert {ours[name].value: ours[name].projector for name in theirs} == projectors
    with_config = {ours[name].value for name in theirs if ours[name].has_config}
    # Of pretrained tags early access registers no more than the launcher trains with.
    assert with_config == set(MODALITY_CONFIGS)


def test_defaults_are_those_of_its_classes(release: Release) -> None:
    parameters = inspect.signature(own_class(release, "Processor").__init__).parameters
    theirs = {name: parameters[name].default for name in release.processor_defaults}
    # The horizon is the model's where the processor pads to that; builds differ in the argument's default.
    unused = {"max_action_horizon"} if release.pads_to_model_horizon else set()
    assert {name for name, default in theirs.items() if default != release.processor_defaults[name]} <= unused
    config = own_class(release, "Config")()
    assert {name: getattr(config, name) for name in release.config_defaults} == release.config_defaults
    assert config.model_type == release.model_type
    if release.pads_to_model_horizon:
        assert release.limits.max_horizon == config.action_horizon
        assert release.limits.max_dims == {"state": config.max_state_dim, "action": config.max_action_dim}
    if release.gated_backbone is not None:
        assert config.model_name == release.gated_backbone


def test_every_flag_is_one_of_the_installed_build_or_its_class_lacks_it(installed: Installed, release: Release) -> None:
    for name, field in release.flags.items():
        owner = getattr(import_module(f"gr00t.{field.file.removesuffix('.py').replace('/', '.')}"), field.owner)
        assert installed.has(field) == (field.name in owner.__dataclass_fields__), name


def test_whether_shards_are_capped_is_told_by_its_file(installed: Installed) -> None:
    """Three steps in shards of one, of an episode that is cut into two parts."""
    from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset

    dataset = object.__new__(ShardedSingleStepDataset)
    values = {
        "episode_loader": SimpleNamespace(episode_lengths=[3], get_episode_length=lambda episode: 3),
        "shard_size": 1,
        "episode_sampling_rate": 0.5,
        "action_horizon": 1,
        "dataset_path": "dataset",
        "rng": np.random.default_rng(0),
        "seed": 0,
        "allow_padding": False,
        "shuffle": True,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    with redirect_stdout(io.StringIO()):
        try:
            dataset.shard_dataset()
        except AssertionError:
            assert not installed.caps_shards
        else:
            assert installed.caps_shards
            assert len(dataset.sharded_episodes) == 2


def test_a_dataset_that_does_not_fit_a_tags_own_config_is_refused(
    installed: Installed, release: Release, whole: Path, tmp_path: Path
) -> None:
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    base = write_base(tmp_path / "base", config={**CONFIG, "model_type": release.model_type})
    machine = replace(EVERYTHING, installed=installed)
    for tag in (tag for tag in release.tags if tag.has_config and installed.has_tag(tag.name)):
        found = preflight(settings_of(whole, base, embodiment_tag=tag.value), machine=machine).problems
        (told,) = (one.message for one in found if one.code == "tag-keys")
        assert told.startswith(f"does not fit {release.name}'s config of {tag.name}: ")
        for part in ("video", "state", "action"):
            keys = MODALITY_CONFIGS[tag.value][part].modality_keys
            if part == "video":
                assert f"video of the config {', '.join(keys)}, of the dataset top" in told
            assert not set(keys) <= {"left_arm", "right_arm"} or part not in told
        assert "config-keys" not in {one.code for one in found}
