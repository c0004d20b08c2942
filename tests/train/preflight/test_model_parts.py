"""The parts of each release's model, by names of weights: what is trained, and what the rest takes of memory."""

from pathlib import Path

import pytest

from millrace.engine.dataset.releases import RELEASES, Release, find_release
from millrace.train.groot.adapter import load_adapter
from millrace.train.groot.base_model import read_base
from millrace.train.groot.components import Component, list_components
from support.training_setups import SHAPES, settings_of, write_base

N1D7_SHAPES = {
    "backbone.model.model.visual.patch_embed.proj.weight": (8, 10),
    "backbone.model.model.visual.deepstack_merger_list.0.norm.weight": (10,),
    "backbone.model.model.language_model.embed_tokens.weight": (20, 10),
    **{f"backbone.model.model.language_model.layers.{layer}.mlp.weight": (10, 10) for layer in range(3)},
    "action_head.model.transformer_blocks.0.weight": (30, 10),
    "action_head.state_encoder.layer1.W": (7, 10),
    "action_head.position_embedding.weight": (3, 10),
    "action_head.vlln.weight": (10,),
}


def components(folder: Path, release: Release, *, num_top: int, **flags: bool) -> dict[str, Component]:
    shapes = N1D7_SHAPES if release.choice == "n1.7" else SHAPES
    config = {"model_type": release.model_type, "tune_top_llm_layers": num_top}
    base = write_base(folder / "base", config=config, shapes=shapes)
    settings = settings_of(folder, base, gr00t=release.choice, **flags)
    found = list_components(settings, read_base(str(base), release))
    assert found is not None
    return {component.name: component for component in found}


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.choice)
def test_every_part_is_trained_or_frozen_by_its_flag(release: Release, tmp_path: Path) -> None:
    usual = components(tmp_path / "usual", release, num_top=0)
    frozen = {name for name, component in usual.items() if not component.is_trained}
    assert frozen == {"vision encoder", next(name for name in usual if name.startswith("language model"))}
    flags = {"tune_llm": True, "tune_visual": True, "tune_projector": False, "tune_diffusion_model": False}
    other = components(tmp_path / "other", release, num_top=0, **flags)
    assert {name for name, component in other.items() if not component.is_trained} == {
        "state and action projectors",
        "diffusion action head",
    }
    assert sum(component.num_values for component in usual.values()) == sum(c.num_values for c in other.values())


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.choice)
def test_layers_that_are_always_trained_are_named_with_the_release(release: Release, tmp_path: Path) -> None:
    found = components(tmp_path, release, num_top=2)["language model, top layers"]
    assert (found.is_trained, found.num_values) == (True, 200)
    assert found.why == f"always: {release.name} trains the top 2 layers, also without --tune-llm"


def test_a_frozen_backbone_is_bf16_on_n1d6_alone(tmp_path: Path) -> None:
    sizes = {
        release.choice: components(tmp_path / release.choice, release, num_top=0)["vision encoder"].frozen_bytes
        for release in RELEASES
    }
    assert sizes == {"n1.6": 2, "n1.7": 4}


def test_an_image_of_a_batch_is_whole_patches() -> None:
    sizes = {
        choice: [load_adapter(find_release(choice)).batch_image_bytes(side) for side in (64, 256, 300)]
        for choice in ("n1.6", "n1.7")
    }
    assert sizes["n1.6"] == [56**2 * 3 * 4, 252**2 * 3 * 4, 308**2 * 3 * 4]
    assert sizes["n1.7"] == [256**2 * 3 * 2 * 4, 256**2 * 3 * 2 * 4, 288**2 * 3 * 2 * 4]
