"""Random maps against a slow reference."""

import math
from typing import Any

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
from support.small_maps import frames

WIDTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4)
FINITE = st.floats(-8, 8, width=32)


@st.composite
def robots(draw: st.DrawFn, prefix: str) -> Robot:
    groups = {}
    for g, width in enumerate(draw(WIDTHS)):
        joints = [f"{prefix}{g}_{j}" for j in range(width)]
        groups[f"{prefix}{g}"] = {
            "joints": joints,
            "action_joints": draw(st.none() | st.permutations(joints)),
            "unit": "rad",
            "rest": draw(st.lists(FINITE, min_size=width, max_size=width)),
        }
    layouts = {vector: {vector: draw(st.permutations(list(groups)))} for vector in ("state", "action")}
    return Robot.model_validate({"name": prefix, "groups": groups, **layouts})


def each(values: st.SearchStrategy[Any], num_lines: int) -> st.SearchStrategy[Any]:
    """One value for all lines of a rule, or one each."""
    return values | st.lists(values, min_size=num_lines, max_size=num_lines)


@st.composite
def rules(draw: st.DrawFn, source: Robot, target: Robot, group: str, vector: Vector) -> object:
    still = ["rest", "hold"] if vector == "action" else ["rest"]
    joints = target.groups[group].joints
    narrow = [name for name, theirs in source.groups.items() if len(theirs.joints) <= len(joints)]
    single = [joint for theirs in source.groups.values() for joint in theirs.joints]
    kind = draw(st.sampled_from([*still, "constant", "broadcast", "joints", *(["copy"] if narrow else [])]))
    if kind in still:
        return kind
    if kind == "constant":
        return {"rest": draw(st.lists(FINITE, min_size=len(joints), max_size=len(joints)))}
    table = draw(st.dictionaries(st.sampled_from(joints), st.sampled_from(single), min_size=1))
    rule: dict[str, object] = {
        "copy": {"copy": draw(st.sampled_from(narrow or [""]))},
        "broadcast": {"broadcast": draw(st.sampled_from(single))},
        "joints": {"joints": table, "others": draw(st.sampled_from(still))},
    }[kind]
    if draw(st.booleans()):
        num_lines = len(table) if kind == "joints" else len(joints)
        ranges = st.tuples(FINITE, FINITE).map(sorted)
        rising = ranges.filter(lambda ends: ends[0] + 0.1 < ends[1])
        rule["rescale"] = {
            "source": draw(each(rising, num_lines)),
            "target": draw(each(ranges, num_lines)),
            "polarity": draw(each(st.sampled_from(["same", "inverted"]), num_lines)),
        }
    return rule


@st.composite
def maps(draw: st.DrawFn) -> EmbodimentMap:
    source, target = draw(robots("s")), draw(robots("t"))
    own = {
        vector: {group: draw(rules(source, target, group, vector)) for group in target.groups}
        for vector in ("state", "action")
    }
    # A map must drive something; naming the groups besides is enough.
    return EmbodimentMap.model_validate(
        {
            "name": "random",
            "source": source,
            "target": target,
            "cameras": {},
            "groups": own["state"],
            "action": own["action"],
            "also_train": list(target.groups),
        }
    )


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
