"""Draft a map file between two robots by the names of their groups, joints and cameras, for its author to check."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml
from pydantic import TypeAdapter

from millrace.embodiments import VECTORS, EmbodimentMap, Robot, Rule, Vector
from millrace.embodiments.errors import WrongField
from millrace.embodiments.rules import apply_rule
from millrace.embodiments.wiring import Source, Target
from millrace.engine.errors import RecipeError
from millrace.engine.text import join_names

RULE: TypeAdapter[Any] = TypeAdapter(Rule)
SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
# What parts of a robot are called.
PARTS = {
    **dict.fromkeys(("arm", "arms"), "arm"),
    **dict.fromkeys(("hand", "gripper", "grip", "finger", "fingers", "claw"), "hand"),
    **dict.fromkeys(("leg", "legs"), "leg"),
    **dict.fromkeys(("waist", "torso", "trunk"), "waist"),
    **dict.fromkeys(("neck", "head"), "neck"),
}


@dataclass(frozen=True)
class DraftedRule:
    """A rule for a group of the target, by vector, and what its author must check; empty where names agree."""

    state: Any
    action: Any
    doubt: str = ""


@dataclass(frozen=True)
class MapDraft:
    """The text of a map file, the map that it describes, and how many of its lines need a look."""

    text: str
    map: EmbodimentMap
    num_doubts: int


def draft_map(source: Robot, target: Robot, *, source_name: str, target_name: str) -> MapDraft:
    """Draft a map file: it loads, drives what names tell, and says in comments what they do not.

    Args:
        source: The robot that was recorded.
        target: The robot to convert to.
        source_name: The first as the file shall name it: a shipped robot, or a path relative to the file.
        target_name: The second, likewise.

    Raises:
        RecipeError: no group of the one can be driven by one of the other.
    """
    rules = {group: _draft_rule(source, target, group) for group in target.groups}
    if not all(_drives(rules, target, vector) for vector in VECTORS):
        rules |= _copy_largest(source, target)
    cameras = dict(_pair_cameras(source, target))
    name = f"{source.name}_to_{target.name.removeprefix('g1_')}"
    found = EmbodimentMap.model_validate(
        {
            "name": name,
            "source": source,
            "target": target,
            "cameras": {ours: theirs for ours, (theirs, _) in cameras.items()},
            "groups": {group: rule.state for group, rule in rules.items()},
            "action": {group: rule.action for group, rule in rules.items() if rule.action != rule.state},
        }
    )
    lines = [
        f"# {source.name} onto {target.name}, drafted by names: check each line that has a comment.",
        f"name: {name}",
        f"description: {_write(f'{source.name} onto {target.name}')}",
        f"source: {_write(source_name)}",
        f"target: {_write(target_name)}",
        "",
        "cameras:" if cameras else "cameras: {}  # none of the source is known",
        *(_line(ours, theirs, doubt) for ours, (theirs, doubt) in cameras.items()),
        "",
        "groups:",
        *(_line(group, rule.state, rule.doubt) for group, rule in rules.items()),
        *_action_lines(rules, target),
        *_unused_lines(source, rules),
    ]
    doubts = [rule.doubt for rule in rules.values()] + [doubt for _, doubt in cameras.values()]
    return MapDraft("\n".join(lines) + "\n", found, sum(map(bool, doubts)))


def _draft_rule(source: Robot, target: Robot, group: str) -> DraftedRule:
    side, part = _place(group)
    alike = [name for name in source.groups if _place(name) == (side, part)]
    doubt = ""
    if not alike:
        alike = [name for name in source.groups if _place(name)[1] == part and "" in (side, _place(name)[0])]
        alike = [name for name in alike if side in ("right", "") and _place(name)[0] != "left"]
        doubt = f"taken for {alike[0]!r}, though nothing tells its side" if alike else ""
    if not alike:
        return DraftedRule("rest", "rest", f"nothing of {source.name} is alike")
    rule, doubts = _choose_rule(source, target, group, alike[0])
    action = rule if _why_no_action(source, target, group, alike[0], rule) == "" else "rest"
    doubts = [doubt, *doubts, *([] if action == rule else [_why_no_action(source, target, group, alike[0], rule)])]
    if not _fits(rule, source, target, group, "state"):
        rule, doubts = "rest", [*doubts, f"the state of {source.name} lacks it"]
    return DraftedRule(rule, action, "; ".join(filter(None, doubts)))


def _choose_rule(source: Robot, target: Robot, group: str, theirs: str) -> tuple[Any, list[str]]:
    """The first rule that fits, and what its author must check."""
    joints, known = target.groups[group].joints, source.groups[theirs].joints
    others = {"reorder": theirs, "others": "rest"}
    if _is_driven(others, source, target, group):
        if _is_driven({"reorder": theirs}, source, target, group):
            return {"reorder": theirs}, []
        return others, [f"of {join_names(known)} only those of the same name"]
    if len(known) == 1:
        return _broadcast(source, target, group, theirs)
    if len(known) <= len(joints) and (_place(group)[1] != "hand" or len(known) == len(joints)):
        more = f"; {join_names(joints[len(known) :])} rest" if len(known) < len(joints) else ""
        return {"copy": theirs}, [f"by position: {join_names(known)} into {join_names(joints)}{more}; signs and zeros"]
    if _place(group)[1] != "hand":
        left_out = join_names(known[len(joints) :])
        return {"joints": dict(zip(joints, known, strict=False))}, [f"by position, without {left_out}; signs and zeros"]
    return "rest", [f"{join_names(known)} cannot be told from names: write {{joints: {{{joints[0]}: JOINT, ...}}}}"]


def _broadcast(source: Robot, target: Robot, group: str, theirs: str) -> tuple[Any, list[str]]:
    (given,) = source.groups[theirs].joint_limits.values()
    wanted = [*target.groups[group].joint_limits.values()]
    rule: dict[str, Any] = {"broadcast": theirs}
    if not all(map(isfinite, [end for ends in (given, *wanted) for end in ends])):
        units = f"{source.groups[theirs].unit} -> {target.groups[group].unit}"
        return rule, [f"as it is ({units}): add `rescale` with ranges and polarity"]
    rule["rescale"] = {
        "source": [*given],
        "target": [[*ends] for ends in wanted] if len(set(wanted)) > 1 else [*wanted[0]],
        "polarity": "same",
    }
    return rule, ["ranges are the limits of both; polarity and those of open and closed are not known"]


def _why_no_action(source: Robot, target: Robot, group: str, theirs: str, rule: Any) -> str:
    """Why the action of a group is not driven by the rule of its state; empty where it is."""
    ours, their = target.groups[group].action_kind, source.groups[theirs].action_kind
    if rule == "rest" or group not in target.groups_of("action"):
        return ""
    if ours != their:
        return f"action rests: a {their} is no {ours}"
    if ours != "target" and "rescale" in rule:
        return f"action rests: a {ours} is scaled about 0 only"
    if target.groups[group].action == "relative" and not _fits(rule, source, target, group, "state"):
        return "action rests: it is relative to a state that is not driven"
    return "" if _fits(rule, source, target, group, "action") else f"action rests: that of {source.name} lacks it"


def _fits(rule: Any, source: Robot, target: Robot, group: str, vector: Vector) -> bool:
    if group not in target.groups_of(vector):
        return True
    try:
        apply_rule(RULE.validate_python(rule), Target(target, group, vector), Source(source, vector))
    except (WrongField, ValueError):
        return False
    return True


def _is_driven(rule: Any, source: Robot, target: Robot, group: str) -> bool:
    """Whether a rule drives a joint of a group in the state or the action."""
    for vector in VECTORS:
        try:
            if apply_rule(RULE.validate_python(rule), Target(target, group, vector), Source(source, vector)):
                return True
        except (WrongField, ValueError):
            continue
    return False


def _drives(rules: dict[str, DraftedRule], target: Robot, vector: Vector) -> bool:
    """Whether any rule drives a group of the state or the action."""
    return any(getattr(rules[group], vector) != "rest" for group in target.groups_of(vector))


def _copy_largest(source: Robot, target: Robot) -> dict[str, DraftedRule]:
    """The largest group of the source by position in the smallest of the target that holds it: names told nothing.

    Raises:
        RecipeError: there is none.
    """
    pairs = [
        (len(source.groups[theirs].joints), -len(target.groups[ours].joints), ours, theirs)
        for ours in target.groups
        for theirs in source.groups
        if len(source.groups[theirs].joints) <= len(target.groups[ours].joints)
        and target.groups[ours].action_kind == source.groups[theirs].action_kind
        and all(theirs in source.groups_of(vector) and ours in target.groups_of(vector) for vector in VECTORS)
    ]
    if not pairs:
        raise RecipeError(
            f"no group of {source.name} can drive one of {target.name}, as state and as action: write the map by hand"
        )
    _, _, ours, theirs = max(pairs)
    rule = {"copy": theirs}
    return {ours: DraftedRule(rule, rule, "names tell nothing: the largest group that fits, by position")}


def _pair_cameras(source: Robot, target: Robot) -> Iterator[tuple[str, tuple[str, str]]]:
    """The source's camera for each of the target's, and what is to be checked."""
    named = {name: theirs for name in target.cameras if (theirs := _find_camera(source, target, name))}
    left = [name for name in source.cameras if name not in named.values()]
    missing = [name for name in target.cameras if name not in named]
    guessed = dict(zip(missing, left, strict=False))
    for name in target.cameras:
        if name in named:
            yield name, (named[name], "")
        elif name in guessed:
            others = [other for other in source.cameras if other != guessed[name]]
            more = f" of {join_names(source.cameras)}" if others else ""
            yield name, (guessed[name], f"the first{more} that no name gives away")


def _find_camera(source: Robot, target: Robot, name: str) -> str | None:
    names = (name, *target.camera_aliases.get(name, ()))
    return next((found for found in names if found in source.cameras), None)


def _place(group: str) -> tuple[str, str]:
    """Side and part of a group, by its name."""
    words = re.split(r"[_\W]+|(?<=[a-z])(?=[A-Z])", group)
    lower = [word.lower() for word in words if word]
    side = next((SIDES[word] for word in lower if word in SIDES), "")
    part = next((PARTS[word] for word in reversed(lower) if word in PARTS), "")
    return side, part or "_".join(word for word in lower if word not in SIDES)


def _action_lines(rules: dict[str, DraftedRule], target: Robot) -> Iterator[str]:
    others = {group: rule.action for group, rule in rules.items() if rule.action != rule.state}
    others = {group: rule for group, rule in others.items() if group in target.groups_of("action")}
    if others:
        yield from ("", "action:", *(_line(group, rule, "") for group, rule in others.items()))


def _unused_lines(source: Robot, rules: dict[str, DraftedRule]) -> Iterator[str]:
    text = " ".join(str(rule.state) + str(rule.action) for rule in rules.values())
    if unused := [name for name in source.groups if f"'{name}'" not in text]:
        yield from ("", f"# drives nothing: {', '.join(unused)}")


def _line(name: str, value: object, doubt: str) -> str:
    return f"  {name}: {_write(value)}{f'  # CHECK: {doubt}' if doubt else ''}"


def _write(value: object) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
