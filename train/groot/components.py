"""The weights that a run trains, by their names alone.

As gr00t/model/modules/eagle_backbone.py and gr00t/model/gr00t_n1d6/gr00t_n1d6.py, N1.6: all are trained but those that
a flag freezes; the top layers of the language model are trained whatever the flag says.
"""

import re
from collections import Counter
from dataclasses import dataclass

from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.settings import FinetuneFlags

LAYER = re.compile(r"backbone\.model\.language_model\.model\.layers\.(\d+)\.")
TOP_LAYERS, LANGUAGE_MODEL = "language model, top layers", "language model, other layers"
OTHER = "everything else"
# Each part by how its weights' names begin, the more specific ones first; which layers are the top ones their number
# tells.
PREFIXES: dict[str, tuple[str, ...]] = {
    "vision encoder": ("backbone.model.vision_model.", "backbone.model.mlp1."),
    TOP_LAYERS: (),
    LANGUAGE_MODEL: ("backbone.model.language_model.",),
    "backbone of its own": ("backbone.",),
    "norm of vision and language": ("action_head.vlln.",),
    "state and action projectors": (
        "action_head.state_encoder.",
        "action_head.action_encoder.",
        "action_head.action_decoder.",
        "action_head.position_embedding.",
        "action_head.mask_token",
    ),
    "diffusion action head": ("action_head.model.",),
    OTHER: ("",),
}


@dataclass(frozen=True)
class Component:
    """A part of the model. why: the flag or the rule that decides whether it is trained."""

    name: str
    num_values: int
    is_trained: bool
    why: str

    @property
    def in_backbone(self) -> bool:
        """Whether it is part of the vision-language backbone, whose frozen weights are bf16."""
        return self.name == TOP_LAYERS or any(prefix.startswith("backbone.") for prefix in PREFIXES[self.name])


def list_components(flags: FinetuneFlags, base: BaseCheckpoint) -> tuple[Component, ...] | None:
    """The parts of a base model; None where the sizes of its weights are unknown."""
    if base.weights is None:
        return None
    num_layers = max((int(found[1]) + 1 for weight in base.weights if (found := LAYER.match(weight.name))), default=0)
    num_top = base.config.tune_top_llm_layers
    sizes: Counter[str] = Counter()
    for weight in base.weights:
        layer = LAYER.match(weight.name)
        is_top = layer is not None and int(layer[1]) >= num_layers - num_top
        sizes[TOP_LAYERS if is_top else _part(weight.name)] += weight.num_values
    rules = {
        TOP_LAYERS: (True, f"always: N1.6 trains the top {num_top} layers, also without --tune-llm"),
        LANGUAGE_MODEL: (flags.tune_llm, "--tune-llm"),
        "vision encoder": (flags.tune_visual, "--tune-visual"),
        "state and action projectors": (flags.tune_projector, "--tune-projector"),
        "diffusion action head": (flags.tune_diffusion_model, "--tune-diffusion-model"),
    }
    always = (True, "always: no flag freezes it")
    return tuple(Component(name, sizes[name], *rules.get(name, always)) for name in PREFIXES if sizes[name])


def _part(weight: str) -> str:
    return next(part for part, prefixes in PREFIXES.items() if weight.startswith(prefixes))
