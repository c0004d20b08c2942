"""GR00T N1.7 as an `Adapter`."""

from collections.abc import Mapping
from typing import Any

from millrace.train.groot.adapter import BatchSteps
from millrace.train.groot.model_parts import FP32_BYTES
from millrace.train.groot.n1d7.model_parts import PARTS

# Fields of Gr00tN1d7Config that say what the model is. The launcher has the class's defaults, which are those of the
# released model; a base model of other sizes has its own.
ARCHITECTURE = (
    *("model_name", "backbone_model_type", "backbone_embedding_dim", "select_layer", "tune_top_llm_layers"),
    *("max_state_dim", "max_action_dim", "action_horizon", "state_history_length", "max_num_embodiments"),
    *("hidden_size", "input_embedding_dim", "max_seq_len", "add_pos_embed", "use_vlln", "vl_self_attention_cfg"),
    *("use_alternate_vl_dit", "attend_text_every_n_blocks", "diffusion_model_cfg", "use_flash_attention"),
)

# Of four patches that Qwen3-VL merges, and of the smallest image, pixels.
MERGED_SIDE, LEAST_SIDE = 32, 256
NUM_COLOURS, NUM_MOMENTS = 3, 2


class N1d7Adapter:
    """See `Adapter`."""

    parts = PARTS
    loader_modules = ("millrace.train.groot.n1d7.collator",)

    def launcher_values(self, base: Any) -> Mapping[str, Any]:
        """Constants of gr00t/experiment/launch_finetune.py, but for what says which model it is."""
        return {
            "load_bf16": False,
            "reproject_vision": False,
            "backbone_trainable_params_fp32": True,
            "use_relative_action": True,
            **{name: getattr(base, name) for name in ARCHITECTURE if hasattr(base, name)},
        }

    def batch_steps(self, processor: Any) -> BatchSteps | None:
        """See `BatchProcessor.of`."""
        from millrace.train.groot.n1d7.processor import BatchProcessor

        return BatchProcessor.of(processor)

    def batch_image_bytes(self, side: int) -> int:
        """In fp32, every image twice, as a patch has two moments; resized to whole merged patches."""
        resized = max(round(side / MERGED_SIDE) * MERGED_SIDE, LEAST_SIDE)
        return resized**2 * NUM_COLOURS * NUM_MOMENTS * FP32_BYTES

    def wrap_collator(self, collator: Any) -> Any:
        """A `CachingCollator`, for GR00T's own."""
        from gr00t.model.gr00t_n1d7.processing_gr00t_n1d7 import Gr00tN1d7DataCollator

        from millrace.train.groot.n1d7.collator import CachingCollator

        return CachingCollator(collator) if type(collator) is Gr00tN1d7DataCollator else collator


ADAPTER = N1d7Adapter()
