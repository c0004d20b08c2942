"""Rescale the range of one robot's joint to that of another's."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import Field, model_validator

from millrace.embodiments.errors import WrongField
from millrace.embodiments.messages import Remedy
from millrace.embodiments.yaml_file import FileModel, Range, Ranges, one_or_more

Polarity = Literal["same", "inverted"]
Item = TypeVar("Item")


class Scale(NamedTuple):
    """target = source * factor + summand; expected: the source's range."""

    factor: float
    summand: float
    expected: Range


class Rescale(FileModel):
    """Map the source's range onto the target's, linearly, also outside of it: nothing is clipped.

    Each field holds one value for all joints, or one for each joint of the target group.

    Args:
        source: [low, high], in the source group's unit.
        target: The same in the target's unit. Low may equal high: that joint is constant.
        polarity: Whether the source's low is the target's low or its high.
    """

    source: Ranges
    target: Ranges
    polarity: Annotated[tuple[Polarity, ...], one_or_more(Polarity), Field(min_length=1)] = ("same",)

    @model_validator(mode="after")
    def _is_sound(self) -> "Rescale":
        for low, high in self.source:
            if not low < high:
                raise WrongField(
                    ("source",),
                    f"source range [{low:g}, {high:g}] must rise; ",
                    Remedy("`polarity` turns it round."),
                    got=[low, high],
                )
        for low, high in self.target:
            if low > high:
                raise WrongField(
                    ("target",),
                    f"target range [{low:g}, {high:g}] falls; ",
                    Remedy("`polarity` turns it round."),
                    got=[low, high],
                )
        return self

    def scales(self, joints: Sequence[str]) -> dict[str, Scale]:
        """The scale of each joint of the target group."""
        sources = self._each("source", self.source, joints)
        targets = self._each("target", self.target, joints)
        polarities = self._each("polarity", self.polarity, joints)
        ends = zip(sources, targets, polarities, strict=True)
        return {joint: _scale(*end) for joint, end in zip(joints, ends, strict=True)}

    def _each(self, field: str, values: tuple[Item, ...], joints: Sequence[str]) -> tuple[Item, ...]:
        if len(values) not in (1, len(joints)):
            kind = "polarities" if field == "polarity" else f"{field} ranges"
            raise WrongField(
                ("rescale", field),
                f"rescale has {len(values)} {kind} for {len(joints)} joints: {', '.join(joints)}.",
                got=len(values),
                expected=len(joints),
            )
        return values if len(values) > 1 else values * len(joints)


def _scale(source: Range, target: Range, polarity: Polarity) -> Scale:
    at_low, at_high = reversed(target) if polarity == "inverted" else target
    low, high = source
    factor = (at_high - at_low) / (high - low)
    return Scale(factor, at_low - low * factor, source)
