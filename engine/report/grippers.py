"""Grippers: how far they go, which way they open, and whether they do what they are told."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from millrace.engine.inspection.row_facts import JointFacts
from millrace.engine.report.joint_groups import Place, PlottedGroup

WORDS = ("gripper", "claw", "jaw")
# Correlations of action and state: less says nothing of their sense.
LEAST_AGREEMENT = 0.3


@dataclass(frozen=True)
class GripperRow:
    """A gripper in texts. unit: with what its ends mean, where the robot is known."""

    name: str
    unit: str
    state: str
    action: str
    limits: str
    course: str
    sense: str


def describe_grippers(groups: Sequence[PlottedGroup], facts: Iterable[JointFacts]) -> Iterator[GripperRow]:
    """Each joint that its name, or its group's, calls a gripper."""
    by_place: dict[Place, JointFacts] = {(one.column, one.place): one for one in facts}
    for group in groups:
        for joint in group.joints:
            if not any(word in f"{group.name} {joint.name}".lower() for word in WORDS):
                continue
            state, action = (None if place is None else by_place.get(place) for place in (joint.state, joint.action))
            if state is not None or action is not None:
                limits = "" if joint.limits is None else f"{joint.limits[0]:.4g} to {joint.limits[1]:.4g}"
                course, sense = _describe_course(state or action), _describe_sense(action)
                texts = (_describe_range(state), _describe_range(action))
                yield GripperRow(joint.name, group.unit, *texts, limits, course, sense)


def _describe_range(facts: JointFacts | None) -> str:
    return "" if facts is None else f"{facts.low:.4g} to {facts.high:.4g}"


def _describe_course(facts: JointFacts | None) -> str:
    """Where an episode usually starts and ends."""
    if facts is None or facts.start is None or facts.end is None:
        return ""
    return f"{facts.start:.4g} to {facts.end:.4g}"


def _describe_sense(action: JointFacts | None) -> str:
    if action is None or action.follows is None:
        return ""
    if abs(action.follows) < LEAST_AGREEMENT:
        return f"unrelated (correlation {action.follows:.2f})"
    return f"{'the same sense' if action.follows > 0 else 'opposite senses'} (correlation {action.follows:.2f})"
