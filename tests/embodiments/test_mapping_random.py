"""Random maps against a slow reference."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.embodiments import (
    EmbodimentMap,
    Robot,
    compile_map,
)
from millrace.embodiments.robot import VECTORS, Vector
from millrace.embodiments.rules import Broadcast, Constant, Copy, JointTable, Rule
from support.random_maps import FINITE, maps
from support.small_maps import frames


def slowly(
    rules: EmbodimentMap, vector: Vector, values: dict[str, float], observed: dict[str, float]
) -> dict[str, float]:
    """One frame of the target by joint name, as the rules read."""
    result = {}
    for group in rules.target.groups_of(vector):
        rule, _ = rules.rule(group, vector)
        ours = rules.target.groups[group]
        lines = lines_of(rule, ours.order(vector), rules.source, vector)
        holds = rule == "hold" or getattr(rule, "others", None) == "hold"
        constants = dict(zip(ours.order(vector), rule.rest, strict=True)) if isinstance(rule, Constant) else {}
        for joint in ours.joints:
            still = observed[joint] if holds else constants.get(joint, ours.rest_pose[joint])
            result[joint] = driven(rule, list(lines).index(joint), values[lines[joint]]) if joint in lines else still
    return result


def lines_of(rule: Rule, joints: tuple[str, ...], source: Robot, vector: Vector) -> dict[str, str]:
    """The source's joint for each joint that a rule drives, in the order of the rule's ranges."""
    if isinstance(rule, Copy):
        return dict(zip(joints, source.groups[rule.group].order(vector), strict=False))
    if isinstance(rule, Broadcast):
        return dict.fromkeys(joints, rule.joint)
    return dict(rule.joints) if isinstance(rule, JointTable) else {}


def driven(rule: Rule, line: int, value: float) -> float:
    """What a rule makes of a value on one of its lines."""
    rescale = getattr(rule, "rescale", None)
    if rescale is None:
        return value
    (low, high), (start, end), polarity = (
        values[line] if len(values) > 1 else values[0] for values in (rescale.source, rescale.target, rescale.polarity)
    )
    if polarity == "inverted":
        start, end = end, start
    return start if start == end else start + (value - low) / (high - low) * (end - start)


@settings(deadline=None)
@given(maps(), st.data())
def test_random_maps_equal_a_reference_joint_by_joint(rules: EmbodimentMap, data: st.DataObject) -> None:
    made = compile_map(rules)
    layouts = {vector: rules.source.layout(vector) for vector in VECTORS}
    values = {
        vector: np.array(
            data.draw(st.lists(FINITE | st.just(math.nan), min_size=layout.width, max_size=layout.width)),
            np.float32,
        )
        for vector, layout in layouts.items()
    }
    state, action = made.apply(values["state"][None], values["action"][None])
    by_name = {
        vector: dict(zip(layout.joints, values[vector].tolist(), strict=True)) for vector, layout in layouts.items()
    }
    expected_state = slowly(rules, "state", by_name["state"], {})
    expected_action = slowly(rules, "action", by_name["action"], expected_state)
    for vector, mapped, expected in zip(VECTORS, (state, action), (expected_state, expected_action), strict=True):
        wanted = [expected[joint] for joint in rules.target.layout(vector).joints]
        np.testing.assert_allclose(mapped.squeeze(0), wanted, rtol=1e-4, atol=1e-4)


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(1, 20))
def test_reordering_there_and_back_changes_nothing(order: list[str], num_frames: int) -> None:
    def robot(name: str, joints: list[str]) -> Robot:
        group = {"joints": joints, "unit": "rad"}
        return Robot.model_validate(
            {
                "name": name,
                "groups": {"all": group},
                "state": {"s": ["all"]},
                "action": {"a": ["all"]},
            }
        )

    here, there = robot("here", ["a", "b", "c", "d", "e"]), robot("there", order)
    rules = {"name": "turn", "cameras": {}, "groups": {"all": {"reorder": "all"}}}
    out, back = (
        compile_map(EmbodimentMap.model_validate({**rules, "source": source, "target": target}))
        for source, target in ((here, there), (there, here))
    )
    values = frames(5, num_frames)
    for mapped in back.apply(*out.apply(values, values)):
        np.testing.assert_array_equal(mapped, values)
