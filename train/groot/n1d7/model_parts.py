"""The parts of N1.7's model: gr00t/model/modules/qwen3_backbone.py and gr00t/model/gr00t_n1d7/gr00t_n1d7.py."""

import re

from millrace.train.groot.model_parts import ModelPart, ModelParts

LANGUAGE_MODEL = "language model"
PARTS = ModelParts(
    parts=(
        ModelPart("vision encoder", ("backbone.model.model.visual.",), "tune_visual"),
        ModelPart(LANGUAGE_MODEL, ("backbone.model.model.language_model.",), "tune_llm"),
        ModelPart("backbone of its own", ("backbone.",)),
        # Its config's tune_vlln, which the launcher leaves at True.
        ModelPart("norm of vision and language", ("action_head.vlln.", "action_head.vl_self_attention.")),
        ModelPart(
            "state and action projectors",
            (
                "action_head.state_encoder.",
                "action_head.action_encoder.",
                "action_head.action_decoder.",
                "action_head.position_embedding.",
            ),
            "tune_projector",
        ),
        ModelPart("diffusion action head", ("action_head.model.",), "tune_diffusion_model"),
        ModelPart("everything else", ("",)),
    ),
    layer=re.compile(r"backbone\.model\.model\.language_model\.layers\.(\d+)\."),
    layers_of=LANGUAGE_MODEL,
)
