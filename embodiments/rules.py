"""The rules of a map: how one group of the target comes from the source, joints by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from embodiments.errors import WrongField, check_name
from embodiments.matching import spellings
from embodiments.robot import Robot, Vector
from embodiments.yaml_file import FileModel, Number

Range = tuple[Number, Number]


class Wire(NamedTuple):
    """target = source * scale + offset, for one joint.

    held: source is a joint of the target's own state.
    """

    target: str
    source: str
    scale: float = 1.0
    offset: float = 0.0
    held: bool = False


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


@dataclass(frozen=True)
class Source:
    """What rules take from: the source robot's state or action."""

    robot: Robot
    vector: Vector

    def joints_of(self, group: str, key: str) -> tuple[str, ...]:
        """The joints of a group that this vector holds; key is the field that named it."""
        check_name(group, f"joint group of {self.robot.name!r}", self.robot.groups, key=(key,))
        if group not in self.robot.groups_of(self.vector):
            raise WrongField(
                (key,),
                f"the {self.vector} of {self.robot.name!r} lacks {group!r}; "
                f"under `{self.vector}:`, give this group a rule without it, such as rest.",
            )
        return self.robot.groups[group].joints


class Copy(FileModel):
    """Joint by joint in order; where the source has fewer, the last ones of the target rest."""

    group: str = Field(alias="copy")
    rescale: Rescale | None = None

    def wires(self, target: Robot, name: str, source: Source) -> list[Wire]:
        """The joints that this rule drives, of the group called name."""
        joints, theirs = target.groups[name].joints, source.joints_of(self.group, "copy")
        if len(theirs) > len(joints):
            raise WrongField(
                ("copy",),
                f"{self.group!r} of {source.robot.name!r} has {len(theirs)} joints, {name!r} of "
                f"{target.name!r} only {len(joints)}: {', '.join(theirs)} into "
                f"{', '.join(joints)}. Take `reorder` to choose by name.",
            )
        return _wires(zip(joints, theirs, strict=False), self.rescale, joints)


class Reorder(FileModel):
    """Joint by joint by name or alias, out of one or more groups that hold all of them."""

    groups: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda groups: (groups,) if isinstance(groups, str) else groups),
        Field(alias="reorder", min_length=1),
    ]
    rescale: Rescale | None = None

    def wires(self, target: Robot, name: str, source: Source) -> list[Wire]:
        """The joints that this rule drives, of the group called name."""
        theirs = [joint for group in self.groups for joint in source.joints_of(group, "reorder")]
        joints = target.groups[name].joints
        found = {joint: self._find(joint, target, theirs, source.robot) for joint in joints}
        if len(set(found.values())) < len(found):
            pairs = ", ".join(f"{joint} <- {their}" for joint, their in found.items())
            raise WrongField(("reorder",), f"one joint of {source.robot.name!r} fits two of {name!r}: {pairs}.")
        return _wires(found.items(), self.rescale, joints)

    def _find(self, joint: str, target: Robot, theirs: Sequence[str], source: Robot) -> str:
        if joint in theirs:
            return joint
        called = spellings(joint, target.aliases)
        fits = [their for their in theirs if called & spellings(their, source.aliases)]
        if len(fits) == 1:
            return fits.pop()
        problem = f"{joint!r} could be any of {', '.join(fits)}" if fits else f"no joint is called {joint!r}"
        raise WrongField(
            ("reorder",),
            f"{problem} in {', '.join(self.groups)} of {source.name!r}: [{', '.join(theirs)}]. "
            "Give it an alias in a robot file, or take `copy` to go by position.",
        )


class Broadcast(FileModel):
    """One joint, by the name of its group or its own, to every joint of the target."""

    joint: str = Field(alias="broadcast")
    rescale: Rescale | None = None

    def wires(self, target: Robot, name: str, source: Source) -> list[Wire]:
        """The joints that this rule drives, of the group called name."""
        joints = target.groups[name].joints
        their = self._find(source)
        return _wires(((joint, their) for joint in joints), self.rescale, joints)

    def _find(self, source: Source) -> str:
        if self.joint not in source.robot.groups and self.joint in source.robot.layout(source.vector).joints:
            return self.joint
        joints = source.joints_of(self.joint, "broadcast")
        if len(joints) > 1:
            raise WrongField(
                ("broadcast",),
                f"{self.joint!r} of {source.robot.name!r} has {len(joints)} joints; "
                f"name the one to broadcast: {', '.join(joints)}.",
            )
        return next(iter(joints))


def _hold(target: Robot, name: str, vector: Vector) -> list[Wire]:
    # The action repeats the observed state of the same joints.
    if vector == "state":
        raise WrongField((), f"`hold` is for actions; move the rule of {name!r} to `action:`.")
    observed = target.layout("state").joints
    for joint in target.groups[name].joints:
        if joint not in observed:
            raise WrongField(
                (),
                f"`hold` needs {joint!r} in the state of {target.name!r}: {', '.join(observed)}.",
            )
    return [Wire(joint, joint, held=True) for joint in target.groups[name].joints]


def _wires(pairs: Iterable[tuple[str, str]], rescale: Rescale | None, joints: Sequence[str]) -> list[Wire]:
    if rescale is None:
        return [Wire(ours, theirs) for ours, theirs in pairs]
    scales = rescale.scales(joints)
    return [Wire(ours, theirs, *scales[ours]) for ours, theirs in pairs]


def _kind(rule: object) -> str | None:
    if isinstance(rule, str):
        return "<still>" if rule in ("rest", "hold") else None
    tags = {"copy": Copy, "reorder": Reorder, "broadcast": Broadcast}
    fits = [
        f"<{tag}>"
        for tag, model in tags.items()
        if isinstance(rule, model) or (isinstance(rule, Mapping) and tag in rule)
    ]
    return fits.pop() if len(fits) == 1 else None


Rule = Annotated[
    Annotated[Copy, Tag("<copy>")]
    | Annotated[Reorder, Tag("<reorder>")]
    | Annotated[Broadcast, Tag("<broadcast>")]
    | Annotated[Literal["rest", "hold"], Tag("<still>")],
    Discriminator(
        _kind,
        custom_error_type="no_rule",
        custom_error_message="one rule is needed, of {copy: GROUP}, {reorder: [GROUP, ...]}, "
        "{broadcast: GROUP}, rest and hold",
    ),
]


def wires(rule: Rule, target: Robot, name: str, source: Source) -> list[Wire]:
    """The joints of the target's group called name that a rule drives; the others rest."""
    if rule == "rest":
        return []
    if rule == "hold":
        return _hold(target, name, source.vector)
    return rule.wires(target, name, source)
