"""Wires of a map: joints of the target, each with a joint of the source."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from millrace.embodiments.errors import WrongField, check_name
from millrace.embodiments.messages import Remedy
from millrace.embodiments.robot import Robot, Vector
from millrace.embodiments.yaml_file import Range

Others = Literal["rest", "hold"]


class Wire(NamedTuple):
    """target = source * scale + offset, for one joint; scale 0 makes it a constant.

    held: source is a joint of the target's own state. expected: the range of the source that a rescale names.
    """

    target: str
    source: str
    scale: float = 1.0
    offset: float = 0.0
    held: bool = False
    expected: Range | None = None


@dataclass(frozen=True)
class Source:
    """The vector that rules read: the source robot's state or action."""

    robot: Robot
    vector: Vector

    def group_joints(self, group: str, key: str) -> tuple[str, ...]:
        """The joints of a group that this vector holds; key is the field that named it."""
        check_name(group, f"joint group of {self.robot.name!r}", self.robot.groups, key=(key,))
        if group not in self.robot.groups_of(self.vector):
            raise WrongField(
                (key,),
                f"the {self.vector} of {self.robot.name!r} lacks {group!r}; ",
                Remedy(f"under `{self.vector}:`, give this group a rule without it, such as rest."),
                got=group,
                known=tuple(self.robot.groups_of(self.vector)),
            )
        return self.robot.groups[group].order(self.vector)


@dataclass(frozen=True)
class Target:
    """The group of the target robot that a rule drives, its joints in the vector's order."""

    robot: Robot
    group: str
    vector: Vector

    @property
    def joints(self) -> tuple[str, ...]:
        """The group's joints in the order of the state or the action."""
        return self.robot.groups[self.group].order(self.vector)

    def hold(self, joints: Iterable[str]) -> list[Wire]:
        """Wires by which the action repeats the observed state of these joints."""
        if self.vector == "state":
            advice = Remedy(f"move the rule of {self.group!r} to `action:`.")
            raise WrongField((), "`hold` is for actions; ", advice, got=self.vector, expected="action")
        observed = self.robot.layout("state").joints
        for joint in joints:
            if joint not in observed:
                message = f"`hold` needs {joint!r} in the state of {self.robot.name!r}: {', '.join(observed)}."
                raise WrongField((), message, expected=joint, known=tuple(observed))
        return [Wire(joint, joint, held=True) for joint in joints]

    def wire_others(self, driven: Iterable[str], others: Others) -> list[Wire]:
        """Wires of the joints that a rule does not drive: none that rest, or those that hold their state."""
        left = set(self.joints) - set(driven)
        return self.hold([joint for joint in self.joints if joint in left]) if others == "hold" else []
