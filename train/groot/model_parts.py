"""The parts of a release's model, by the names of its weights."""

import re
from dataclasses import dataclass

BF16_BYTES, FP32_BYTES = 2, 4


@dataclass(frozen=True)
class ModelPart:
    """A part of a model.

    Args:
        name: For messages.
        prefixes: How its weights' names begin.
        flag: The setting that decides whether it is trained; None: it always is.
        frozen_bytes: Of one number that is not trained, as a worker holds it.
    """

    name: str
    prefixes: tuple[str, ...]
    flag: str | None = None
    frozen_bytes: int = FP32_BYTES


@dataclass(frozen=True)
class ModelParts:
    """All parts of a release's model.

    Args:
        parts: A weight belongs to the first of them that its name fits; the last one takes all.
        layer: Matches names of the language model's layers; group 1 is the layer's number.
        layers_of: Name of the part that the layers belong to, without the top ones that are always trained.
    """

    parts: tuple[ModelPart, ...]
    layer: re.Pattern[str]
    layers_of: str

    def find(self, weight: str) -> ModelPart:
        """The part of a weight, by its name."""
        return next(part for part in self.parts if weight.startswith(part.prefixes))
