"""The rules of a map: how one group of the target comes from the source, joints by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from millrace.embodiments.errors import WrongField, check_name
from millrace.embodiments.matching import normalize_names
from millrace.embodiments.messages import Remedy
from millrace.embodiments.rescale import Rescale
from millrace.embodiments.robot import Robot
from millrace.embodiments.wiring import Others, Source, Target, Wire
from millrace.embodiments.yaml_file import FileModel, Number, one_or_more


class Copy(FileModel):
    """Joint by joint in order; where the source has fewer, the last ones of the target rest."""

    group: str = Field(alias="copy")
    rescale: Rescale | None = None

    def wires(self, target: Target, source: Source) -> list[Wire]:
        """A wire for each joint that this rule drives."""
        joints, theirs = target.joints, source.group_joints(self.group, "copy")
        if len(theirs) > len(joints):
            raise WrongField(
                ("copy",),
                f"{self.group!r} of {source.robot.name!r} has {len(theirs)} joints, {target.group!r} of "
                f"{target.robot.name!r} only {len(joints)}: {', '.join(theirs)} into {', '.join(joints)}. ",
                Remedy("Take `reorder` to choose by name."),
                got=len(theirs),
                expected=len(joints),
            )
        return _make_wires(zip(joints, theirs, strict=False), self.rescale, joints)


class Reorder(FileModel):
    """Joint by joint by name or alias, out of one or more groups.

    others: what joints do that these groups lack; by default the groups must hold all.
    """

    groups: Annotated[tuple[str, ...], one_or_more(str), Field(alias="reorder", min_length=1)]
    rescale: Rescale | None = None
    others: Others | None = None

    def wires(self, target: Target, source: Source) -> list[Wire]:
        """A wire for each joint that this rule drives."""
        theirs = [joint for group in self.groups for joint in source.group_joints(group, "reorder")]
        candidates = {joint: self._find(joint, target.robot, theirs, source.robot) for joint in target.joints}
        found = {joint: their for joint, their in candidates.items() if their is not None}
        if len(set(found.values())) < len(found):
            pairs = ", ".join(f"{joint} <- {their}" for joint, their in found.items())
            raise WrongField(("reorder",), f"one joint of {source.robot.name!r} fits two of {target.group!r}: {pairs}.")
        driven = _make_wires(found.items(), self.rescale, target.joints)
        return driven if self.others is None else [*driven, *target.wire_others(found, self.others)]

    def _find(self, joint: str, target: Robot, theirs: Sequence[str], source: Robot) -> str | None:
        if joint in theirs:
            return joint
        called = normalize_names(joint, target.aliases)
        fits = [their for their in theirs if called & normalize_names(their, source.aliases)]
        if len(fits) == 1:
            return fits.pop()
        if not fits and self.others is not None:
            return None
        problem = f"{joint!r} could be any of {', '.join(fits)}" if fits else f"no joint is called {joint!r}"
        raise WrongField(
            ("reorder",),
            f"{problem} in {', '.join(self.groups)} of {source.name!r}: [{', '.join(theirs)}]. ",
            Remedy("Give it an alias in a robot file, or take `copy` to go by position."),
            got=joint,
            known=tuple(theirs),
        )


class Broadcast(FileModel):
    """One joint, by the name of its group or its own, to every joint of the target."""

    joint: str = Field(alias="broadcast")
    rescale: Rescale | None = None

    def wires(self, target: Target, source: Source) -> list[Wire]:
        """A wire for each joint that this rule drives."""
        their = self._find(source)
        return _make_wires(((joint, their) for joint in target.joints), self.rescale, target.joints)

    def _find(self, source: Source) -> str:
        if self.joint not in source.robot.groups and self.joint in source.robot.layout(source.vector).joints:
            return self.joint
        if self.joint not in source.robot.groups:
            known = (*source.robot.groups_of(source.vector), *source.robot.layout(source.vector).joints)
            kind = f"joint or joint group in the {source.vector} of {source.robot.name!r}"
            check_name(self.joint, kind, known, key=("broadcast",))
        joints = source.group_joints(self.joint, "broadcast")
        if len(joints) > 1:
            raise WrongField(
                ("broadcast",),
                f"{self.joint!r} of {source.robot.name!r} has {len(joints)} joints; ",
                Remedy(f"name the one to broadcast: {', '.join(joints)}."),
                got=len(joints),
                expected=1,
                known=joints,
            )
        return next(iter(joints))


class JointTable(FileModel):
    """Joint by joint as written out: each of the target's with the source's that drives it.

    rescale: its ranges and polarities are one for all, or one for each line of the table.
    others: what joints do that are not in the table.
    """

    joints: Annotated[dict[str, str], Field(min_length=1)]
    rescale: Rescale | None = None
    others: Others = "rest"

    def wires(self, target: Target, source: Source) -> list[Wire]:
        """A wire for each joint that this rule drives."""
        theirs = source.robot.layout(source.vector).joints
        for joint, their in self.joints.items():
            key = ("joints", joint)
            check_name(joint, f"joint in {target.group!r} of {target.robot.name!r}", target.joints, key=key)
            check_name(their, f"joint in the {source.vector} of {source.robot.name!r}", theirs, key=key)
        driven = _make_wires(self.joints.items(), self.rescale, tuple(self.joints))
        return [*driven, *target.wire_others(self.joints, self.others)]


class Constant(FileModel):
    """Values of the map's own for joints that nothing drives: one for all, or one each."""

    rest: Annotated[tuple[Number, ...], one_or_more(Number), Field(min_length=1)]

    def wires(self, target: Target, source: Source) -> list[Wire]:
        """Wires of constants, one for each joint."""
        if len(self.rest) not in (1, len(target.joints)):
            message = f"rest has {len(self.rest)} values for {len(target.joints)} joints."
            raise WrongField(("rest",), message, got=len(self.rest), expected=len(target.joints))
        values = self.rest if len(self.rest) > 1 else self.rest * len(target.joints)
        return [Wire(joint, "", 0.0, value) for joint, value in zip(target.joints, values, strict=True)]


class Undefined(FileModel):
    """The map does not say what drives this group; its user must give a rule. undefined: why."""

    undefined: Annotated[str, Field(min_length=1)]


def _make_wires(pairs: Iterable[tuple[str, str]], rescale: Rescale | None, joints: Sequence[str]) -> list[Wire]:
    if rescale is None:
        return [Wire(ours, theirs) for ours, theirs in pairs]
    scales = rescale.scales(joints)
    return [
        Wire(ours, theirs, scales[ours].factor, scales[ours].summand, expected=scales[ours].expected)
        for ours, theirs in pairs
    ]


_MODELS = {
    "copy": Copy,
    "reorder": Reorder,
    "broadcast": Broadcast,
    "joints": JointTable,
    "rest": Constant,
    "undefined": Undefined,
}


def _kind(rule: object) -> str | None:
    if isinstance(rule, str):
        return "<still>" if rule in ("rest", "hold") else None
    fits = [
        f"<{tag}>"
        for tag, model in _MODELS.items()
        if isinstance(rule, model) or (isinstance(rule, Mapping) and tag in rule)
    ]
    return fits.pop() if len(fits) == 1 else None


Rule = Annotated[
    Annotated[Copy, Tag("<copy>")]
    | Annotated[Reorder, Tag("<reorder>")]
    | Annotated[Broadcast, Tag("<broadcast>")]
    | Annotated[JointTable, Tag("<joints>")]
    | Annotated[Constant, Tag("<rest>")]
    | Annotated[Undefined, Tag("<undefined>")]
    | Annotated[Literal["rest", "hold"], Tag("<still>")],
    Discriminator(
        _kind,
        custom_error_type="no_rule",
        custom_error_message="one rule is needed, of {copy: GROUP}, {reorder: [GROUP, ...]}, {broadcast: GROUP}, "
        "{joints: {TARGET: SOURCE, ...}}, rest, {rest: VALUE}, hold and {undefined: REASON}",
    ),
]


def apply_rule(rule: Rule, target: Target, source: Source) -> list[Wire]:
    """The wires of a group by its rule; joints without a wire rest, as those of an undefined group."""
    if rule == "rest" or isinstance(rule, Undefined):
        return []
    if rule == "hold":
        return target.hold(target.joints)
    return rule.wires(target, source)
