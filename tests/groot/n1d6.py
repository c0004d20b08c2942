"""GR00T N1.6-3B without its weights: NVIDIA's own classes on torch's meta device, and a base model folder of them."""

import json
import struct
from pathlib import Path

import torch
from gr00t.configs.model.gr00t_n1d6 import Gr00tN1d6Config
from gr00t.model.gr00t_n1d6.gr00t_n1d6 import Gr00tN1d6ActionHead
from gr00t.model.modules import eagle_backbone
from gr00t.model.modules.eagle_backbone import EagleBackbone
from torch import nn
from torch.distributions import Distribution
from transformers import AutoConfig, Qwen3ForCausalLM
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.modeling_utils import no_init_weights

EAGLE = str(Path(eagle_backbone.__file__).parent / "nvidia/Eagle-Block2A-2B-v2")
# What the released checkpoint has and N1.6's defaults have not (its processor is a fixture of N1.6's own tests).
RELEASED = {"max_state_dim": 128, "max_action_dim": 128, "action_horizon": 50}
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}


class N1d6(nn.Module):
    """The model by its parts: `backbone` and `action_head`, as Gr00tN1d6 names them."""

    def __init__(self, config: Gr00tN1d6Config) -> None:
        super().__init__()
        self.backbone = backbone(config)
        self.action_head = Gr00tN1d6ActionHead(config)


def n1d6(**flags: bool) -> N1d6:
    """N1.6-3B as a run with these flags trains it: the flags of Gr00tN1d6Config that begin with tune_."""
    # The action head's noise distribution would look at its parameters, which a meta tensor does not have.
    Distribution.set_default_validate_args(False)
    with torch.device("meta"), no_init_weights():
        return N1d6(Gr00tN1d6Config(**RELEASED, **flags))


def backbone(config: Gr00tN1d6Config) -> EagleBackbone:
    """EagleBackbone without flash-attn, which its constructor insists on: its parts, and its rule of what trains."""
    eagle = AutoConfig.from_pretrained(EAGLE, trust_remote_code=True)
    for part in (eagle, eagle.text_config, eagle.vision_config):
        part._attn_implementation = "eager"
    model_class = get_class_from_dynamic_module("modeling_eagle3_vl.Eagle3_VLForConditionalGeneration", EAGLE)
    vision_class = get_class_from_dynamic_module("modeling_siglip2.Siglip2VisionModel", EAGLE)
    language = Qwen3ForCausalLM(eagle.text_config)
    made = EagleBackbone.__new__(EagleBackbone)
    nn.Module.__init__(made)
    made.model = model_class(eagle, vision_model=vision_class(eagle.vision_config), language_model=language)
    del language.model.layers[config.select_layer :]
    made.set_trainable_parameters(config.tune_llm, config.tune_visual, config.tune_top_llm_layers)
    return made


def write_base_model(folder: Path, processor: Path) -> None:
    """A base model folder whose weights file is a header only.

    Args:
        folder: Made by this.
        processor: A processor_config.json of the released checkpoint.
    """
    folder.mkdir(parents=True)
    config = {"model_type": "Gr00tN1d6", "max_num_embodiments": 32, "tune_top_llm_layers": 4, **RELEASED}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor_config.json").write_bytes(processor.read_bytes())
    tensors = {
        name: {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [0, 0]}
        for name, tensor in n1d6().named_parameters()
    }
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
