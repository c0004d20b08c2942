"""The parts of N1.6's model: gr00t/model/modules/eagle_backbone.py and gr00t/model/gr00t_n1d6/gr00t_n1d6.py."""

import re

from millrace.train.groot.model_parts import BF16_BYTES, ModelPart, ModelParts

LANGUAGE_MODEL = "language model, other layers"
PARTS = ModelParts(
    parts=(
        # EagleBackbone insists on bf16, of which only the weights that are trained become fp32.
        ModelPart(
            "vision encoder", ("backbone.model.vision_model.", "backbone.model.mlp1."), "tune_visual", BF16_BYTES
        ),
        ModelPart(LANGUAGE_MODEL, ("backbone.model.language_model.",), "tune_llm", BF16_BYTES),
        ModelPart("backbone of its own", ("backbone.",)),
        ModelPart("norm of vision and language", ("action_head.vlln.",)),
        ModelPart(
            "state and action projectors",
            (
                "action_head.state_encoder.",
                "action_head.action_encoder.",
                "action_head.action_decoder.",
                "action_head.position_embedding.",
                "action_head.mask_token",
            ),
            "tune_projector",
        ),
        ModelPart("diffusion action head", ("action_head.model.",), "tune_diffusion_model"),
        ModelPart("everything else", ("",)),
    ),
    layer=re.compile(r"backbone\.model\.language_model\.model\.layers\.(\d+)\."),
    layers_of=LANGUAGE_MODEL,
)
