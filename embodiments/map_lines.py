"""A map joint by joint, for whoever wants to see it."""

from collections.abc import Iterator
from dataclasses import dataclass

from millrace.embodiments.joint_map import JointMap
from millrace.embodiments.mapping import EmbodimentMap, compile_map
from millrace.embodiments.robot import VECTORS, Robot, Vector
from millrace.embodiments.rules import Constant, JointTable, Rule, Undefined
from millrace.embodiments.yaml_file import Range


@dataclass(frozen=True)
class Drive:
    """What drives a joint of the target: source * scale + offset.

    Args:
        source: A joint of the source robot; of a held joint, the target's own.
        held: Whether it is the observed state of the target that the action repeats.
        scale: Target unit per source unit.
        offset: Target unit.
        expected: [low, high] in which the source is expected; infinite where nothing is known.
    """

    source: str
    held: bool
    scale: float
    offset: float
    expected: Range

    @property
    def mapped(self) -> Range:
        """What low and high of the source become, in the target's unit."""
        low, high = self.expected
        return low * self.scale + self.offset, high * self.scale + self.offset


@dataclass(frozen=True)
class MapLine:
    """One joint of the target.

    Args:
        group: Of the joint.
        joint: Its name.
        unit: Of the group.
        rule: That of the group, as a file has it, without ranges.
        limits: [low, high] of sound data; infinite where nothing is known.
        rest: Its value where nothing drives it.
        drive: What drives it; None: it rests.
    """

    group: str
    joint: str
    unit: str
    rule: str
    limits: Range
    rest: float
    drive: Drive | None


def list_map_lines(embodiment_map: EmbodimentMap) -> dict[Vector, tuple[MapLine, ...]]:
    """A line for each joint of the target, by vector, in its order; groups that the map leaves undefined rest."""
    compiled = compile_map(embodiment_map.with_rules(dict.fromkeys(embodiment_map.undefined, "rest")))
    joint_maps = {"state": compiled.state, "action": compiled.action}
    return {vector: tuple(_list_lines(embodiment_map, joint_maps[vector], vector)) for vector in VECTORS}


def describe_rule(rule: Rule) -> str:
    """A rule in a few words, without its ranges.

    >>> describe_rule("hold"), describe_rule(Undefined(undefined="two hands have no one value"))
    ('hold', 'undefined')
    """
    if isinstance(rule, str):
        return rule
    (kind, subject), *_ = rule.model_dump(by_alias=True).items()
    if isinstance(rule, JointTable | Constant | Undefined):
        return str(kind)
    return f"{kind} {subject if isinstance(subject, str) else ', '.join(subject)}"


def _list_lines(embodiment_map: EmbodimentMap, joint_map: JointMap, vector: Vector) -> Iterator[MapLine]:
    target = embodiment_map.target
    layout, drives = target.layout(vector), _find_drives(joint_map, embodiment_map.source, target, vector)
    for group, place in layout.slices.items():
        rule, _ = embodiment_map.rule(group, vector)
        for column in range(place.start, place.stop):
            low, high = layout.limits[column].tolist()
            yield MapLine(
                group=group,
                joint=layout.joints[column],
                unit=target.groups[group].unit,
                rule=describe_rule(rule),
                limits=(low, high),
                rest=float(joint_map.rest[column]),
                drive=drives.get(column),
            )


def _find_drives(joint_map: JointMap, source: Robot, target: Robot, vector: Vector) -> dict[int, Drive]:
    """What drives each column of the target."""
    theirs = source.layout(vector).joints
    names = [*((joint, False) for joint in theirs), *((joint, True) for joint in target.layout("state").joints)]
    wires = zip(
        joint_map.driven.tolist(),
        joint_map.gather.tolist(),
        joint_map.scale.tolist(),
        joint_map.offset.tolist(),
        joint_map.limits.tolist(),
        strict=True,
    )
    found = {}
    for column, gather, scale, offset, (low, high) in wires:
        joint, held = names[gather]
        found[column] = Drive(joint, held, scale, offset, expected=(low, high))
    return found
