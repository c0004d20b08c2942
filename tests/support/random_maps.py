"""Random robots and maps between them, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from millrace.embodiments import EmbodimentMap, Robot, Vector

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
