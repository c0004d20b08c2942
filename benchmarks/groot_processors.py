"""The processor of the installed GR00T's released checkpoint, made without that checkpoint."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.tiny_qwen import NAME, write_processor
from millrace.train.installed import require_groot

# What the released N1.6 checkpoint's processor has.
N1D6 = {
    "max_state_dim": 128,
    "max_action_dim": 128,
    "max_action_horizon": 50,
    "shortest_image_edge": 256,
    "use_albumentations": True,
    "use_relative_action": True,
}
# What N1.7's config has (gr00t/configs/model/gr00t_n1d7.py), and its launcher's share of dropped states.
N1D7 = {
    "max_state_dim": 132,
    "max_action_dim": 132,
    "max_action_horizon": 40,
    "image_crop_size": [230, 230],
    "image_target_size": [256, 256],
    "shortest_image_edge": None,
    "crop_fraction": None,
    "use_albumentations": True,
    "use_percentiles": True,
    "use_relative_action": True,
    "state_dropout_prob": 0.2,
}


def make_processor(modality_configs: dict[str, Any], **settings: Any) -> Any:
    """GR00T's processor; settings are arguments of its class that differ from the released one's."""
    return MAKERS[require_groot().package](modality_configs, **settings)


def _make_n1d6(modality_configs: dict[str, Any], **settings: Any) -> Any:
    from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6Processor

    return Gr00tN1d6Processor(modality_configs, **{**N1D6, **settings})


def _make_n1d7(modality_configs: dict[str, Any], **settings: Any) -> Any:
    from gr00t.model.gr00t_n1d7.processing_gr00t_n1d7 import Gr00tN1d7Processor

    backbone = {"model_name": str(_qwen()), "transformers_loading_kwargs": {"local_files_only": True}}
    return Gr00tN1d7Processor(modality_configs, **{**N1D7, **backbone, **settings})


MAKERS = {"n1d6": _make_n1d6, "n1d7": _make_n1d7}


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory()


@cache
def _qwen() -> Path:
    return write_processor(Path(_scratch().name) / NAME)
