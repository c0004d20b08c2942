"""Draft the rules of a map by the names of groups and joints, and say what their author must check."""

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pydantic import TypeAdapter

from millrace.embodiments import VECTORS, Robot, Rule, Vector
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


def draft_rules(source: Robot, target: Robot) -> dict[str, DraftedRule]:
    """A rule for each group of the target.

    Raises:
        RecipeError: no group of the one can be driven by one of the other.
    """
    rules = {group: _draft_rule(source, target, group) for group in target.groups}
    if not all(_drives(rules, target, vector) for vector in VECTORS):
        rules |= _copy_largest(source, target)
    return rules


def _draft_rule(source: Robot, target: Robot, group: str) -> DraftedRule:
    theirs, doubts = _find_group(source, group)
    if theirs is None:
        return DraftedRule("rest", "rest", f"nothing of {source.name} is alike")
    rule, more = _choose_rule(source, target, group, theirs)
    doubts += [*more, *_doubt_units(source, target, group, theirs, rule)]
    why_not = _why_no_action(source, target, group, theirs, rule)
    action = "rest" if why_not else rule
    if why_not and rule != "rest":
        doubts.append(why_not)
    if not _fits(rule, source, target, group, "state"):
        rule, doubts = "rest", [*doubts, f"the state of {source.name} lacks it"]
    return DraftedRule(rule, action, "; ".join(doubts))


def _find_group(source: Robot, group: str) -> tuple[str | None, list[str]]:
    """The group of the source that is called like one of the target, and what is unsure about it."""
    side, part = _place(group)
    alike = [group] if group in source.groups else [name for name in source.groups if _place(name) == (side, part)]
    if alike:
        others = f"{join_names(alike[1:])} could be meant, too"
        return alike[0], [others] if len(alike) > 1 else []
    alike = [name for name in source.groups if _place(name)[1] == part and "" in (side, _place(name)[0])]
    alike = [name for name in alike if side in ("right", "") and _place(name)[0] != "left"]
    return (alike[0], [f"taken for {alike[0]!r}, though nothing tells its side"]) if alike else (None, [])


def _doubt_units(source: Robot, target: Robot, group: str, theirs: str, rule: Any) -> list[str]:
    """That values of one unit go into joints of another, as no rule converts units by itself."""
    given, wanted = source.groups[theirs].unit, target.groups[group].unit
    if rule == "rest" or "rescale" in rule or given.casefold() == wanted.casefold():
        return []
    return [f"units differ, {given} into {wanted}: add `rescale`"]


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
        return rule, ["as it is: add `rescale` with ranges and polarity"]
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


def _place(group: str) -> tuple[str, str]:
    """Side and part of a group, by its name."""
    words = re.split(r"[_\W]+|(?<=[a-z])(?=[A-Z])", group)
    lower = [word.lower() for word in words if word]
    side = next((SIDES[word] for word in lower if word in SIDES), "")
    part = next((PARTS[word] for word in reversed(lower) if word in PARTS), "")
    return side, part or "_".join(word for word in lower if word not in SIDES)
