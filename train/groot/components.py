"""The weights that a run trains, by their names alone.

As the release's own classes have it: all are trained but those that a flag freezes; the top layers of the language
model are trained whatever the flag says.
"""

from collections import Counter
from dataclasses import dataclass

from millrace.train.finetune_flags import FinetuneFlags
from millrace.train.groot.adapter import load_adapter
from millrace.train.groot.base_model import BaseCheckpoint
from millrace.train.groot.model_parts import FP32_BYTES, ModelPart, ModelParts

TOP_LAYERS = "language model, top layers"


@dataclass(frozen=True)
class Component:
    """A part of the model. why: the flag or the rule that decides whether it is trained.

    Args:
        frozen_bytes: Of one of its numbers, as a worker holds it where it is not trained.
    """

    name: str
    num_values: int
    is_trained: bool
    why: str
    frozen_bytes: int = FP32_BYTES


def list_components(flags: FinetuneFlags, base: BaseCheckpoint) -> tuple[Component, ...] | None:
    """The parts of a base model; None where the sizes of its weights are unknown."""
    if base.weights is None:
        return None
    parts = load_adapter(base.release).parts
    num_top = base.config.tune_top_llm_layers
    sizes = _count_values(parts, base, num_top)
    components = []
    for part in parts.parts:
        if part.name == parts.layers_of and sizes[TOP_LAYERS]:
            why = f"always: {base.release.name} trains the top {num_top} layers, also without --tune-llm"
            components.append(Component(TOP_LAYERS, sizes[TOP_LAYERS], True, why))
        if sizes[part.name]:
            components.append(Component(part.name, sizes[part.name], *_rule(part, flags), part.frozen_bytes))
    return tuple(components)


def _count_values(parts: ModelParts, base: BaseCheckpoint, num_top: int) -> Counter[str]:
    """Numbers by part, those of the language model's top layers apart."""
    weights = base.weights or ()
    num_layers = max((int(found[1]) + 1 for weight in weights if (found := parts.layer.match(weight.name))), default=0)
    sizes: Counter[str] = Counter()
    for weight in weights:
        layer = parts.layer.match(weight.name)
        is_top = layer is not None and int(layer[1]) >= num_layers - num_top
        sizes[TOP_LAYERS if is_top else parts.find(weight.name).name] += weight.num_values
    return sizes


def _rule(part: ModelPart, flags: FinetuneFlags) -> tuple[bool, str]:
    """Whether a part is trained, and why."""
    if part.flag is None:
        return True, "always: no flag freezes it"
    return getattr(flags, part.flag), f"--{part.flag.replace('_', '-')}"
