"""Preflight says what GR00T N1.6 itself does: which shards it makes, what it trains, what it has registered."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.engine.dataset.releases import find_release
from millrace.engine.dataset.sharding import Sharding, count_trainable_steps
from millrace.train.groot.base_model import read_base
from millrace.train.groot.components import list_components
from millrace.train.preflight import preflight
from millrace.train.preflight.trained_robot import read_trained_config
from support.training_setups import EVERYTHING, N1D6_SHAPES, replace_text, settings_of

pytestmark = pytest.mark.skipif(find_spec("gr00t") is None, reason="NOT TESTED: gr00t is not importable")
N1D6 = find_release("n1.6")
pytest_plugins = ["support.training_fixtures"]
HORIZON = 16


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N1.6-3B without weights."""
    import gr00t
    import n1d6

    processor = Path(gr00t.__file__).parents[1] / "tests/fixtures/processor_config/processor_config.json"
    if not processor.is_file():
        pytest.skip("gr00t is installed without its tests, whose fixture is the released processor_config.json")
    folder = tmp_path_factory.mktemp("base") / "GR00T-N1.6-3B"
    n1d6.write_base_model(folder, processor)
    return folder


def shards_of_groot(meta: Path, **settings: Any) -> list[int]:
    """Steps of each of GR00T's own shards."""
    from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
    from gr00t.data.embodiment_tags import EmbodimentTag
    from gr00t.data.types import ModalityConfig

    config = {"action": ModalityConfig(delta_indices=list(range(HORIZON)), modality_keys=["left_arm"])}
    dataset = ShardedSingleStepDataset(meta, EmbodimentTag.NEW_EMBODIMENT, config, **settings)
    return [int(length) for length in dataset.shard_lengths]


@given(
    lengths=st.lists(st.integers(HORIZON - 2, 90), min_size=1, max_size=12).filter(lambda found: max(found) >= HORIZON),
    size=st.integers(1, 64),
    rate=st.sampled_from((0.03, 0.1, 0.3, 0.5, 1.0)),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shards_are_those_that_groot_makes(
    lengths: list[int], size: int, rate: float, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / "meta", tmp_path / "meta", dirs_exist_ok=True)
    lines = [{"episode_index": index, "length": length, "tasks": ["x"]} for index, length in enumerate(lengths)]
    (tmp_path / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ours = Sharding(count_trainable_steps(np.array(lengths), HORIZON), size, rate)
    if ours.fills_all:
        theirs = shards_of_groot(tmp_path, shard_size=size, episode_sampling_rate=rate)
        assert (ours.num_shards, ours.num_steps) == (len(theirs), sum(theirs))
        return
    with pytest.raises(AssertionError, match="All shards must have length greater than 0"):
        shards_of_groot(tmp_path, shard_size=size, episode_sampling_rate=rate)


@pytest.mark.parametrize(
    "flags",
    product((False, True), repeat=4),
    ids=lambda flags: "".join("+" if is_on else "-" for is_on in flags),
)
def test_what_is_trained_is_what_groot_trains(flags: tuple[bool, ...], base: Path, whole: Path) -> None:
    import n1d6

    names = ("tune_llm", "tune_visual", "tune_projector", "tune_diffusion_model")
    chosen = dict(zip(names, flags, strict=True))
    parts = list_components(settings_of(whole, base, **chosen), read_base(str(base), N1D6))
    model = n1d6.n1d6(**chosen)
    assert parts is not None
    assert sum(part.num_values for part in parts) == sum(weight.numel() for weight in model.parameters())
    ours = sum(part.num_values for part in parts if part.is_trained)
    assert ours == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def test_a_plan_of_n1d6_has_the_sizes_that_nvidia_gives(base: Path, whole: Path) -> None:
    plan = preflight(settings_of(whole, base), machine=EVERYTHING).plan
    assert plan is not None
    assert plan.model is not None
    assert plan.model.num_values == pytest.approx(3.29e9, rel=0.01)
    # Of ~22 GB the optimizer has ~13.
    assert plan.needs.checkpoint == pytest.approx(22.5e9, rel=0.02)
    assert plan.model.num_trained * 8 == pytest.approx(13e9, rel=0.01)
    assert plan.model.num_values == pytest.approx(sum(int(np.prod(shape)) for shape in N1D6_SHAPES.values()), rel=1e-3)


def test_limits_of_a_checkpoint_default_to_groots() -> None:
    import inspect

    from gr00t.configs.model.gr00t_n1d6 import Gr00tN1d6Config
    from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import EMBODIMENT_TAG_TO_PROJECTOR_INDEX, Gr00tN1d6Processor

    processor = inspect.signature(Gr00tN1d6Processor.__init__).parameters
    for name, default in N1D6.processor_defaults.items():
        assert default == processor[name].default
    theirs = Gr00tN1d6Config()
    for name, default in N1D6.config_defaults.items():
        assert default == getattr(theirs, name)
    assert {tag.value: tag.projector for tag in N1D6.tags} == EMBODIMENT_TAG_TO_PROJECTOR_INDEX


@pytest.mark.parametrize("tag", ["UNITREE_G1", "LIBERO_PANDA", "OXE_DROID"])
def test_groots_own_config_of_a_tag_is_judged(tag: str, base: Path, whole: Path) -> None:
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    settings = settings_of(whole, base, embodiment_tag=tag)
    config, problems = read_trained_config(settings)
    theirs = MODALITY_CONFIGS[tag.lower()]
    assert not problems
    assert config.config is not None
    assert config.config.keys("action") == tuple(theirs["action"].modality_keys)
    assert config.config.horizon == len(theirs["action"].delta_indices)
    found = {found.code: found for found in preflight(settings, machine=EVERYTHING).problems}
    assert found["tag-keys"].message.startswith(f"does not fit N1.6's config of {tag}: video of the config ")


def test_a_config_that_must_be_run_is_judged_where_groot_is_installed(base: Path, whole: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(whole / "modality_config.py", tmp_path / "mine.py"))
    replace_text(file, "CONFIG = {", "NUM_STEPS = 8 * 2\nprint('registering')\nCONFIG = {")
    replace_text(file, "range(16)", "range(NUM_STEPS)")
    config, problems = read_trained_config(settings_of(whole, base, modality_config_path=file))
    assert not problems
    assert config.config is not None
    assert config.config.horizon == HORIZON
    assert not preflight(settings_of(whole, base, modality_config_path=file), machine=EVERYTHING).problems


def test_ffmpeg_that_torchcodec_misses_is_named(tmp_path: Path) -> None:
    spec = find_spec("torchcodec")
    assert spec is not None
    assert spec.origin is not None
    broken = Path(shutil.copytree(Path(spec.origin).parent, tmp_path / "torchcodec"))
    for library in broken.rglob("*.so"):
        # A loader that looks for a version of FFmpeg which nobody has.
        library.write_bytes(library.read_bytes().replace(b"libavutil.so.", b"libavutix.so."))
    code = "from millrace.train.preflight.packages import why_not_importable; print(why_not_importable('torchcodec'))"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert "libavutix.so" in done.stdout
    assert "cannot open shared object file" in done.stdout


def test_a_run_with_groots_own_loader_is_told_to_install_ffmpeg(base: Path, whole: Path) -> None:
    reason = "FFmpeg version 7: libavutil.so.59: cannot open shared object file: No such file or directory"
    machine = replace(EVERYTHING, broken={"torchcodec": reason})
    (found,) = preflight(settings_of(whole, base, stock_loader=True), machine=machine).problems
    assert found.code == "video-backend"
    assert "apt-get install ffmpeg" in found.remedy
