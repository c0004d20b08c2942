"""Draft a map file between two robots by the names of their groups, joints and cameras, for its author to check."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from millrace.embodiments import EmbodimentMap, Robot
from millrace.engine.drafting.draft_rules import DraftedRule, draft_rules
from millrace.engine.text import join_names


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
    rules, cameras = draft_rules(source, target), dict(_pair_cameras(source, target))
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
        *_camera_lines(cameras),
        *_rule_lines(rules, source, target),
    ]
    doubts = [rule.doubt for rule in rules.values()] + [doubt for _, doubt in cameras.values()]
    return MapDraft("\n".join(lines) + "\n", found, sum(map(bool, doubts)))


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


def _camera_lines(cameras: dict[str, tuple[str, str]]) -> Iterator[str]:
    yield from ("", "cameras:" if cameras else "cameras: {}  # none of the source is known")
    yield from (_line(ours, theirs, doubt) for ours, (theirs, doubt) in cameras.items())


def _rule_lines(rules: dict[str, DraftedRule], source: Robot, target: Robot) -> Iterator[str]:
    yield from ("", "groups:", *(_line(group, rule.state, rule.doubt) for group, rule in rules.items()))
    yield from _action_lines(rules, target)
    yield from _unused_lines(source, rules)


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
