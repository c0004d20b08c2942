"""The range of one robot's joint onto that of another's."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from embodiments.errors import WrongField
from embodiments.yaml_file import FileModel, Number

Range = tuple[Number, Number]


class Rescale(FileModel):
    """From the source's range onto the target's; linear, also outside of it: nothing is clipped.

    Args:
        source: [low, high], in the source group's unit.
        target: The same in the target's unit, or one such pair for each joint of the target group.
            Low may equal high: that joint is constant.
        polarity: Whether the source's low is the target's low or its high.
    """

    source: Range
    target: Annotated[tuple[Range, ...], BeforeValidator(lambda ranges: _pairs(ranges)), Field(min_length=1)]
    polarity: Literal["same", "inverted"] = "same"

    @model_validator(mode="after")
    def _is_sound(self) -> "Rescale":
        low, high = self.source
        if not low < high:
            raise WrongField(
                ("source",),
                f"source range [{low:g}, {high:g}] must rise; `polarity` turns it round.",
            )
        for low, high in self.target:
            if low > high:
                raise WrongField(
                    ("target",),
                    f"target range [{low:g}, {high:g}] falls; `polarity` turns it round.",
                )
        return self

    def scales(self, joints: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Factor and summand by joint of the target group."""
        if len(self.target) not in (1, len(joints)):
            raise WrongField(
                ("rescale", "target"),
                f"rescale has {len(self.target)} target ranges for {len(joints)} joints: {', '.join(joints)}.",
            )
        ranges = self.target if len(self.target) > 1 else self.target * len(joints)
        return {joint: self._scale(*ends) for joint, ends in zip(joints, ranges, strict=True)}

    def _scale(self, at_low: float, at_high: float) -> tuple[float, float]:
        if self.polarity == "inverted":
            at_low, at_high = at_high, at_low
        low, high = self.source
        scale = (at_high - at_low) / (high - low)
        return scale, at_low - low * scale


def _pairs(ranges: object) -> object:
    one = isinstance(ranges, Sequence) and not any(isinstance(item, Sequence) for item in ranges)
    return (ranges,) if one else ranges
