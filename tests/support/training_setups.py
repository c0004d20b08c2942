"""Runs for the tests of preflight: a base model folder without weights, a machine that has everything, settings."""

import json
import shutil
import struct
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from conftest import convert_here
from millrace.commands.preflight_text import print_plan
from millrace.engine.dataset.modality_config import read_config
from millrace.train.preflight import Machine, Preflight
from millrace.train.preflight.gpus import GpuCard, Gpus
from millrace.train.run_identity import identify_run
from millrace.train.settings import FinetuneSettings
from support.synthetic import write_dataset

GB = 10**9
# Of the episodes: 40, 38 and 37 steps are trained with chunks of 16.
LENGTHS = (55, 53, 52)
NUM_STEPS = 115
# An N1.6 checkpoint's tensors in small: a vision encoder, 6 layers of a language model, an action head.
SHAPES: Mapping[str, tuple[int, ...]] = {
    "backbone.model.vision_model.embeddings.weight": (10, 10),
    "backbone.model.mlp1.0.weight": (5, 10),
    "backbone.model.language_model.model.embed_tokens.weight": (20, 10),
    **{f"backbone.model.language_model.model.layers.{layer}.mlp.weight": (10, 10) for layer in range(6)},
    "action_head.model.blocks.0.weight": (30, 10),
    "action_head.state_encoder.layer1.W": (7, 10),
    "action_head.position_embedding.weight": (3, 10),
    "action_head.vlln.weight": (10,),
}
# N1.6-3B's sizes by part: what its own classes make of its config (tests/groot/test_preflight_n1d6.py compares them).
N1D6_SHAPES: Mapping[str, tuple[int, ...]] = {
    "backbone.model.vision_model.all": (428_225_600,),
    "backbone.model.mlp1.all": (13_000_000,),
    "backbone.model.language_model.model.embed_tokens.weight": (621_300_000,),
    **{f"backbone.model.language_model.model.layers.{layer}.all": (50_336_000,) for layer in range(16)},
    "action_head.model.all": (1_091_700_000,),
    "action_head.state_encoder.all": (326_900_000,),
    "action_head.vlln.weight": (4096,),
}
PROCESSOR = {
    "max_state_dim": 128,
    "max_action_dim": 128,
    "max_action_horizon": 50,
    "apply_sincos_state_encoding": True,
    "shortest_image_edge": 256,
    "image_target_size": None,
}
CONFIG = {"model_type": "Gr00tN1d6", "max_state_dim": 128, "max_action_dim": 128, "tune_top_llm_layers": 4}


def gpus_of(name: str, memory_bytes: int, *, count: int = 1) -> Gpus:
    """GPUs of one kind."""
    return Gpus((GpuCard(name, memory_bytes),) * count, count)


EVERYTHING = Machine(
    memory_bytes=256 * GB,
    disk_bytes=1000 * GB,
    gpus=gpus_of("A100", 80 * GB, count=8),
    why_no_groot=None,
    broken={},
    has_wandb_login=True,
    why_not_writable=None,
    shared_bytes=64 * GB,
)


def write_run_dataset(folder: Path) -> Path:
    """A converted dataset with nothing wrong: three episodes longer than an action chunk of 16 steps."""
    write_dataset(folder / "source", lengths=LENGTHS, fps=50)
    convert_here(folder / "source", folder / "whole", robot="aloha", fps="source")
    return folder / "whole"


def copy_to_break(whole: Path, out: Path) -> Path:
    """A copy without millrace.json, whose digests would notice every change."""
    return Path(shutil.copytree(whole, out, ignore=shutil.ignore_patterns("millrace.json")))


def replace_text(file: Path, old: str, new: str) -> None:
    """Replace a part of a text file that must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def write_base(
    folder: Path,
    *,
    config: Mapping[str, Any] = CONFIG,
    processor: Mapping[str, Any] = PROCESSOR,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
) -> Path:
    """A base model's folder, its weights file no more than the header."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor_config.json").write_text(json.dumps({"processor_kwargs": processor}))
    write_weights(folder / "model.safetensors", shapes)
    return folder


def write_statistics(base: Path, **parts: Mapping[str, int]) -> None:
    """Statistics of a base model for NEW_EMBODIMENT: joint groups of these widths by "state", "action", ..."""
    groups = {part: {name: {"min": [0.0] * width} for name, width in widths.items()} for part, widths in parts.items()}
    (base / "statistics.json").write_text(json.dumps({"new_embodiment": groups}))


def write_weights(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file without its data."""
    entries = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)


def settings_of(dataset: Path, base: Path, **flags: Any) -> FinetuneSettings:
    """A run of one dataset that nothing is wrong with, unless the flags say otherwise."""
    sound = {"datasets": (dataset,), "base_model_path": str(base), "output_dir": base.parent / "run"}
    numbers = {"global_batch_size": 32, "max_steps": 100, "save_steps": 50}
    return FinetuneSettings(**{**sound, **numbers, **flags})


def write_earlier_run(settings: FinetuneSettings, **other: Any) -> None:
    """What an earlier run of the same settings has left, but for what is given of its identity."""
    identity = identify_run(settings, [read_config(settings.datasets[0])]).model_copy(update=other)
    settings.run_folder.mkdir(exist_ok=True)
    (settings.run_folder / "millrace_run.json").write_text(identity.model_dump_json())


def codes(checked: Preflight) -> set[str]:
    """The checks that are broken."""
    return {found.code for found in checked.problems}


def printed(checked: Preflight, width: int = 160) -> str:
    """What a terminal shows."""
    text = StringIO()
    print_plan(checked, Console(width=width, file=text))
    return text.getvalue()
