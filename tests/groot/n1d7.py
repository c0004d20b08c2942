"""A tiny GR00T N1.7 with random weights, made offline: NVIDIA's own classes on a Qwen3-VL of two small layers.

As a program (`n1d7.py MODALITY_CONFIG OUT [PROCESSOR_ARGUMENTS]`) it makes the folder OUT of a base model, in a process
of its own: GR00T registers modality configs once per process. The backbone lies beside it; GR00T knows it by its path.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.tiny_qwen import NAME as BACKBONE
from benchmarks.tiny_qwen import SPECIAL_TOKENS, make_tokenizer, write_processor

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "rope_scaling": {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True},
}
VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 256,
    "deepstack_visual_indexes": [0],
}
LIMITS = {"max_state_dim": 64, "max_action_dim": 64}
HORIZON = 16
MODEL = {
    "backbone_embedding_dim": 64,
    "hidden_size": 64,
    "input_embedding_dim": 64,
    "select_layer": 1,
    "use_flash_attention": False,
    "load_bf16": False,
    "model_dtype": "float32",
    "use_relative_action": True,
    "action_horizon": HORIZON,
    "max_num_embodiments": 32,
    "state_dropout_prob": 0.0,
    **LIMITS,
    "diffusion_model_cfg": {
        "positional_embeddings": None,
        "num_layers": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 32,
        "norm_type": "ada_norm",
        "dropout": 0.0,
        "final_dropout": True,
        "output_dim": 64,
        "interleave_self_attention": True,
    },
}
# Gr00tN1d7Config's defaults of what a processor does with images.
PROCESSOR = {
    "use_percentiles": True,
    "use_albumentations": True,
    "use_relative_action": True,
    "image_crop_size": [230, 230],
    "image_target_size": [256, 256],
    "shortest_image_edge": None,
    "crop_fraction": None,
    "max_action_horizon": HORIZON,
    **LIMITS,
}


def why_not() -> str:
    """Why N1.7 is not tested here; empty where it is."""
    from support.groot_tests import is_n1d7_installed

    return "" if is_n1d7_installed() else "NOT TESTED: the gr00t that can be imported, if any, is not N1.7"


def write_backbone(folder: Path) -> None:
    """Make a Qwen3-VL with its tokenizer and image processor; its path ends with BACKBONE."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = make_tokenizer()
    ids = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)), strict=True))
    config = Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer)},
        vision_config=VISION,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    write_processor(folder)


def make_processor(modality_configs: dict[str, Any], backbone: Path, **arguments: Any) -> Any:
    """GR00T's processor over the tiny backbone's; arguments are those of Gr00tN1d7Processor."""
    from gr00t.model.gr00t_n1d7.processing_gr00t_n1d7 import Gr00tN1d7Processor

    return Gr00tN1d7Processor(
        modality_configs,
        **{**PROCESSOR, **arguments},
        model_name=str(backbone),
        transformers_loading_kwargs={"local_files_only": True},
    )


def write_base_n1d7(modality_config: Path, out: Path, **arguments: Any) -> Path:
    """Make a base model's folder, and beside it BACKBONE.

    Args:
        modality_config: Python that registers a config for NEW_EMBODIMENT.
        out: The folder.
        arguments: Of Gr00tN1d7Processor, beside those of PROCESSOR.

    Returns:
        The folder.
    """
    from tiny import REPOSITORY, run_python

    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    made = run_python(Path(__file__), modality_config, out, json.dumps(arguments), env=environment)
    assert made.returncode == 0, made.stderr
    return out


def finetune_n1d7(dataset: Path, base: Path, out: Path, *flags: object) -> tuple[object, ...]:
    """`millrace finetune` of the tiny model on small shards."""
    small = ("--shard-size", 8, "--num-shards-per-epoch", 64, "--logging-steps", 1, "--cpu")
    return ("-m", "millrace", "finetune", dataset, "--base-model-path", base, "--output-dir", out, *small, *flags)


def _main(modality_config: Path, out: Path, arguments: dict[str, Any]) -> None:
    import torch
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
    from gr00t.configs.model.gr00t_n1d7 import Gr00tN1d7Config
    from gr00t.model.gr00t_n1d7.gr00t_n1d7 import Gr00tN1d7

    backbone = out.absolute().parent / BACKBONE
    write_backbone(backbone)
    spec = importlib.util.spec_from_file_location("own_modality_config", modality_config)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    torch.manual_seed(0)
    config = Gr00tN1d7Config(**MODEL, model_name=str(backbone))
    Gr00tN1d7(config, transformers_loading_kwargs={"local_files_only": True}).save_pretrained(out)
    own = {"new_embodiment": MODALITY_CONFIGS["new_embodiment"]}
    make_processor(own, backbone, **arguments).save_pretrained(out)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # a module of the tests must not stand before a library of its name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]) if len(sys.argv) > 3 else {})
