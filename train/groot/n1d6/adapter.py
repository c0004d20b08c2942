"""GR00T N1.6 as an `Adapter`."""

from collections.abc import Mapping
from typing import Any

from millrace.train.groot.adapter import BatchSteps
from millrace.train.groot.model_parts import FP32_BYTES
from millrace.train.groot.n1d6.model_parts import PARTS

# Of four patches that Eagle merges, pixels.
MERGED_SIDE = 28
NUM_COLOURS = 3


class N1d6Adapter:
    """See `Adapter`."""

    parts = PARTS
    loader_modules = ("millrace.train.groot.n1d6.collator",)

    def launcher_values(self, base: Any) -> Mapping[str, Any]:
        """Constants of gr00t/experiment/launch_finetune.py."""
        return {
            "load_bf16": False,
            "reproject_vision": False,
            "eagle_collator": True,
            "model_name": "nvidia/Eagle-Block2A-2B-v2",
            "backbone_trainable_params_fp32": True,
            "use_relative_action": True,
        }

    def batch_steps(self, processor: Any) -> BatchSteps | None:
        """See `BatchProcessor.of`."""
        from millrace.train.groot.n1d6.processor import BatchProcessor

        return BatchProcessor.of(processor)

    def batch_image_bytes(self, side: int) -> int:
        """In fp32; Eagle's processor resizes to the nearest whole number of four merged patches."""
        return (round(side / MERGED_SIDE) * MERGED_SIDE) ** 2 * NUM_COLOURS * FP32_BYTES

    def wrap_collator(self, collator: Any) -> Any:
        """A `CachingCollator`, for GR00T's own."""
        from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator

        from millrace.train.groot.n1d6.collator import CachingCollator

        return CachingCollator(collator) if type(collator) is Gr00tN1d6DataCollator else collator


ADAPTER = N1d6Adapter()
