"""What N1.7's launcher sets is set by ours, sizes come from the base model, and what is trained is what is told."""

import ast
import os
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from n1d7 import HORIZON, LIMITS, why_not, write_base_n1d7

from millrace.engine.dataset.releases import find_release
from millrace.train.errors import ConfigError
from millrace.train.groot.adapter import installed_adapter, load_adapter
from millrace.train.groot.base_model import read_base
from millrace.train.groot.components import list_components
from millrace.train.preflight.resources import ModelSize
from support.training_setups import settings_of

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
pytest_plugins = ["support.training_fixtures"]
N1D7 = find_release("n1.7")
TUNED = ("tune_llm", "tune_visual", "tune_projector", "tune_diffusion_model")


@pytest.fixture(scope="module")
def base(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base_n1d7(whole / "modality_config.py", tmp_path_factory.mktemp("model") / "base")


def test_the_installed_release_is_known_by_its_files() -> None:
    assert installed_adapter() is load_adapter(N1D7)


@pytest.mark.skipif("GR00T_SRC" not in os.environ, reason="NOT TESTED: set GR00T_SRC to the n1.7-release source")
def test_all_that_nvidias_launcher_sets_is_set(whole: Path, base: Path) -> None:
    from millrace.train.groot import config

    launcher = Path(os.environ["GR00T_SRC"]) / "gr00t/experiment/launch_finetune.py"
    targets = [node.targets[0] for node in ast.walk(ast.parse(launcher.read_text())) if isinstance(node, ast.Assign)]
    set_there = {ast.unparse(target) for target in targets if isinstance(target, ast.Attribute)}
    settings = settings_of(whole, base)
    ours: dict[str, set[str]] = {
        "model": set(config.model_values(settings, config.read_model_config(str(base)))),
        "data": set(config.DATA_SETTINGS),
        "training": set(config.training_values(settings)),
    }
    set_here = {f"config.{part}.{name}" for part in ours for name in {*ours[part], *config.BUILD_SETTINGS[part]}}
    assert set_there - set_here == {"config.load_config_path", "ft_config.embodiment_tag"}


def test_the_launchers_defaults_hold_but_sizes_are_the_base_models(whole: Path, base: Path) -> None:
    from millrace.train.groot.config import groot_config

    found = groot_config(settings_of(whole, base, cpu=True))
    assert type(found.model).__name__ == "Gr00tN1d7Config"
    assert (found.model.action_horizon, found.model.max_state_dim) == (HORIZON, LIMITS["max_state_dim"])
    assert found.model.model_name.endswith("Qwen/Qwen3-VL-tiny")
    assert found.model.state_dropout_prob == 0.2
    assert found.model.use_percentiles
    assert found.model.image_target_size == (256, 256)
    assert found.data.override_pretraining_statistics
    assert found.training.wandb_project == "finetune-gr00t-n1d7"
    assert not found.training.skip_weight_loading


def test_flags_that_some_builds_have_reach_the_config(whole: Path, base: Path) -> None:
    from millrace.train.groot.config import groot_config

    flags = {"skip_weight_loading": True, "save_only_model": True, "use_percentiles": False}
    found = groot_config(settings_of(whole, base, cpu=True, shortest_image_edge=200, crop_fraction=0.9, **flags))
    assert found.training.skip_weight_loading
    assert found.training.save_only_model
    assert not found.model.use_percentiles
    assert (found.model.shortest_image_edge, found.model.crop_fraction) == (200, 0.9)
    assert found.model.image_target_size is None


def test_a_flag_that_the_build_lacks_is_refused(whole: Path, base: Path) -> None:
    from gr00t.configs.data.data_config import DataConfig

    from millrace.train.groot.config import build_values

    settings = settings_of(whole, base, ds_weights_alpha=0.5)
    target: Any = SimpleNamespace()
    with pytest.raises(ConfigError, match=r"the installed build of GR00T N1\.7 has no --ds-weights-alpha"):
        build_values(settings, {"ds_weights_alpha": None}, target)
    target.ds_weights_alpha = None
    assert build_values(settings, {"ds_weights_alpha": None}, target) == {"ds_weights_alpha": 0.5}
    assert hasattr(DataConfig(), "video_backend")  # of which later builds have none


def test_a_processor_that_keeps_the_base_models_way_is_refused(whole: Path, base: Path) -> None:
    """That of early builds takes no other from the launcher's config."""
    from millrace.train.groot.config import check_processor

    processor = SimpleNamespace(use_percentiles=True, shortest_image_edge=None, crop_fraction=None)
    check_processor(settings_of(whole, base), processor)
    check_processor(settings_of(whole, base, use_percentiles=True), processor)
    with pytest.raises(ConfigError, match=r"--use-percentiles False: .* keeps the base model's, True"):
        check_processor(settings_of(whole, base, use_percentiles=False), processor)


@pytest.mark.parametrize("num_top", [0, 1])
def test_what_is_trained_is_what_groot_trains(num_top: int, base: Path, whole: Path, tmp_path: Path) -> None:
    """Of all combinations of flags, with and without layers that are always trained; and the bytes of the rest."""
    import json

    import gr00t.model  # noqa: F401  # registers the model
    import torch
    from transformers import AutoConfig, AutoModel

    folder = tmp_path / "base"
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config.json").unlink()
    config = {**json.loads((base / "config.json").read_text()), "tune_top_llm_layers": num_top}
    (folder / "config.json").write_text(json.dumps(config))
    assert AutoConfig.from_pretrained(folder).tune_top_llm_layers == num_top
    for flags in product((False, True), repeat=len(TUNED)):
        chosen = dict(zip(TUNED, flags, strict=True))
        loading: dict[str, Any] = {"local_files_only": True}
        model = AutoModel.from_pretrained(folder, **chosen, transformers_loading_kwargs=loading)
        parts = list_components(settings_of(whole, folder, **chosen), read_base(str(folder), N1D7))
        assert parts is not None
        size, weights = ModelSize.of(parts), list(model.parameters())
        assert size.num_values == sum(weight.numel() for weight in weights)
        assert size.num_trained == sum(weight.numel() for weight in weights if weight.requires_grad)
        frozen = [weight for weight in weights if not weight.requires_grad]
        assert size.frozen_bytes == sum(weight.numel() * weight.element_size() for weight in frozen)
        assert {weight.dtype for weight in weights} == {torch.float32}
