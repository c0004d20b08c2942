"""A GR00T N1.6 of a million random weights, to try training, evaluation and rollouts on CPUs.

    python examples/tiny_groot.py out/tiny_groot

writes it as a base model. Action head, processor, data loading and training are NVIDIA's own; in place of the vision
language model, which needs a GPU, stand a table of words and the mean colour of a grid of image patches. What it
learns is no use to a robot. Commands that load it need its type: `--import-module examples/tiny_groot.py`, or
`import_module` in a pipeline's file. Needs GR00T N1.6.
"""

import sys
from pathlib import Path
from typing import Any

from millrace.train.errors import GrootMissing
from millrace.train.installed import require_groot

try:
    require_groot("n1.6")
except GrootMissing as error:
    raise SystemExit(str(error)) from None

import torch
from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
from gr00t.configs.model.gr00t_n1d6 import Gr00tN1d6Config
from gr00t.model.gr00t_n1d6.gr00t_n1d6 import Gr00tN1d6, Gr00tN1d6ActionHead
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator, Gr00tN1d6Processor
from gr00t.model.gr00t_n1d6.setup import Gr00tN1d6Pipeline
from gr00t.model.registry import MODEL_REGISTRY, register_model
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.feature_extraction_utils import BatchFeature

WIDTH, GRID, NUM_WORDS = 64, 4, 4096
IMAGE_TOKEN = 151669  # image_token_index of gr00t/model/modules/nvidia/Eagle-Block2A-2B-v2/config.json
LIMITS = {"max_state_dim": 64, "max_action_dim": 64}
HORIZON = 16
SIZES: dict[str, Any] = {
    "backbone_embedding_dim": WIDTH,
    "hidden_size": WIDTH,
    "input_embedding_dim": WIDTH,
    "action_horizon": HORIZON,
    "use_relative_action": True,
    "load_bf16": False,
    "model_dtype": "float32",
    **LIMITS,
    "diffusion_model_cfg": {
        "positional_embeddings": None,
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": WIDTH // 2,
        "norm_type": "ada_norm",
        "dropout": 0.0,
        "final_dropout": True,
        "output_dim": WIDTH,
        "interleave_self_attention": True,
    },
}


class TinyGrootConfig(Gr00tN1d6Config):
    """Has a type of its own, as GR00T and transformers choose classes by it."""

    model_type = "tiny_groot"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**SIZES, **settings})


class TinyBackbone(nn.Module):
    """Words by a table, and images by the mean colours of GRID x GRID patches, added to every word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(NUM_WORDS, WIDTH)
        self.patches = nn.Linear(3 * GRID * GRID, WIDTH)

    def prepare_input(self, batch: dict[str, Any]) -> BatchFeature:
        """What the collator made, as it is."""
        return BatchFeature(data=batch)

    def forward(self, inputs: BatchFeature) -> BatchFeature:
        """Features (B, T, WIDTH) of T words, and masks (B, T)."""
        ids = inputs["input_ids"]
        images = torch.stack([self._see(image) for image in inputs["pixel_values"]])
        # A batch of B samples has as many images for each of them.
        seen = images.reshape(len(ids), -1, WIDTH).mean(dim=1)
        return BatchFeature(
            data={
                "backbone_features": self.words(ids % NUM_WORDS) + seen[:, None],
                "backbone_attention_mask": inputs["attention_mask"] == 1,
                "image_mask": ids == IMAGE_TOKEN,
            }
        )

    def _see(self, image: Tensor) -> Tensor:
        """Features (WIDTH,) of an image, (1, 3, H, W)."""
        colors = adaptive_avg_pool2d(image.float(), GRID).flatten()
        return self.patches(colors.to(self.patches.weight.dtype))


class TinyGroot(Gr00tN1d6):
    """NVIDIA's model with the tiny backbone."""

    config_class = TinyGrootConfig

    def __init__(self, config: TinyGrootConfig, transformers_loading_kwargs: dict[str, Any] | None = None) -> None:
        PreTrainedModel.__init__(self, config)  # Gr00tN1d6's own would load the vision language model
        self.backbone = TinyBackbone()
        self.action_head = Gr00tN1d6ActionHead(config)
        loading = transformers_loading_kwargs or {"trust_remote_code": True}
        self.collator = Gr00tN1d6DataCollator(config.model_name, config.backbone_model_type, loading)


class TinyGrootPipeline(Gr00tN1d6Pipeline):
    """What GR00T trains it by."""

    model_class = TinyGroot


if TinyGrootConfig not in MODEL_REGISTRY:
    register_model(TinyGrootConfig, TinyGrootPipeline)
    AutoConfig.register(TinyGrootConfig.model_type, TinyGrootConfig)
    AutoModel.register(TinyGrootConfig, TinyGroot)


def write_base(folder: Path) -> int:
    """Write the model as a base model that has learnt nothing; returns the number of its weights."""
    torch.manual_seed(0)
    model = TinyGroot(TinyGrootConfig())
    model.save_pretrained(folder)
    processor = Gr00tN1d6Processor(
        modality_configs=dict(MODALITY_CONFIGS),
        statistics={},
        shortest_image_edge=256,
        use_albumentations=True,
        use_relative_action=True,
        max_action_horizon=HORIZON,
        **LIMITS,
    )
    processor.save_pretrained(folder)
    return int(model.num_parameters())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/tiny_groot.py FOLDER")
    out = Path(sys.argv[1])
    print(f"{out}: {write_base(out):,} weights")
