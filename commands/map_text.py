"""A map on a terminal and as JSON: what drives each joint, and the way back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from math import isinf
from typing import Any

from rich.console import Console

from millrace.commands.tables import make_table, print_line
from millrace.embodiments import VECTORS, CompiledMap, EmbodimentMap, InverseJoint, Vector, compile_map
from millrace.embodiments.map_lines import MapLine, list_map_lines
from millrace.embodiments.yaml_file import Range

MAX_NAMES = 3
Row = tuple[str, ...]


def print_map(embodiment_map: EmbodimentMap, console: Console) -> None:
    """Draw a map: source, rule, target and ranges, then the way back and what is lost."""
    complete, compiled = _complete(embodiment_map)
    source, target = embodiment_map.source.name, embodiment_map.target.name
    for line in _headlines(embodiment_map, compiled):
        print_line(line, console)
    lines, inverse = list_map_lines(embodiment_map), complete.inverse
    rows = {vector: [*_map_rows(lines[vector])] for vector in VECTORS}
    _print_tables("", (f"from {source}", "rule", f"to {target}", "range", f"range of {target}"), rows, console)
    back = {vector: [*map(_inverse_row, inverse.joints(vector))] for vector in VECTORS}
    _print_tables(f"back to {source}: ", ("joint", f"read from {target}", "how"), back, console)
    for loss in inverse.losses or (f"every joint of {source} comes back",):
        print_line(loss, console)


def _print_tables(subject: str, titles: Sequence[str], rows: Mapping[Vector, Sequence[Row]], console: Console) -> None:
    """A table of the state, and one of the action or, where both have the same joints, of what differs."""
    state, action = rows["state"], rows["action"]
    more = [row for row in action if row not in state] if len(action) == len(state) else action
    console.print()
    print_line(f"{subject}{'state' if more else 'state and action'}", console)
    console.print(make_table(titles, state))
    if more:
        print_line(f"{subject}{'action' if more is action else 'action, where it differs'}", console)
        console.print(make_table(titles, more))


def map_to_dict(embodiment_map: EmbodimentMap) -> dict[str, Any]:
    """A map as data: each joint of the target with what drives it, each of the source with what gives it back."""
    complete, compiled = _complete(embodiment_map)
    lines, inverse = list_map_lines(embodiment_map), complete.inverse
    return {
        "map": embodiment_map.name,
        "description": embodiment_map.description,
        "from": embodiment_map.source.name,
        "to": embodiment_map.target.name,
        "cameras": embodiment_map.cameras,
        "crop": embodiment_map.crop,
        "trained": compiled.trained,
        "unused": compiled.unused,
        "undefined": embodiment_map.undefined,
        **{vector: [_line_to_dict(line) for line in lines[vector]] for vector in VECTORS},
        "inverse": {vector: [_joint_to_dict(joint) for joint in inverse.joints(vector)] for vector in VECTORS},
        "losses": inverse.losses,
    }


def _complete(embodiment_map: EmbodimentMap) -> tuple[EmbodimentMap, CompiledMap]:
    """The map with rest for what it leaves undefined."""
    complete = embodiment_map.with_rules(dict.fromkeys(embodiment_map.undefined, "rest"))
    return complete, compile_map(complete)


def _headlines(embodiment_map: EmbodimentMap, compiled: CompiledMap) -> Iterator[str]:
    yield f"{embodiment_map.name}: {embodiment_map.description}"
    for ours, theirs in embodiment_map.cameras.items():
        yield f"camera {theirs} -> {ours}"
    yield f"trained: {', '.join(compiled.trained)}"
    if compiled.unused:
        yield f"drives nothing: {', '.join(compiled.unused)} of {embodiment_map.source.name}"
    for group, reason in embodiment_map.undefined.items():
        yield f"undefined: {group} ({reason}); a recipe must say what it becomes"


def _map_rows(lines: Iterable[MapLine]) -> Iterator[Row]:
    """A row for each driven joint; joints of a group that rest alike share one."""
    for _, same in groupby(lines, lambda line: line if line.drive else (line.group, line.rest)):
        first, *others = same
        if first.drive is None:
            joints = first.joint if not others else f"{len(others) + 1} joints"
            yield "", first.rule, f"{first.group}: {joints}", f"rests at {first.rest:.4g} {first.unit}", ""
            continue
        drive = first.drive
        is_copy = drive.mapped == drive.expected
        range_text = _range(drive.expected) if is_copy else f"{_range(drive.expected)} -> {_range(drive.mapped)}"
        source = f"{drive.source} (its state)" if drive.held else drive.source
        yield source, first.rule, f"{first.group}: {first.joint}", range_text, f"{_range(first.limits)} {first.unit}"


def _inverse_row(joint: InverseJoint) -> Row:
    names = [carrier.joint for carrier in joint.carriers]
    shown = names if len(names) <= MAX_NAMES else [*names[:2], f"{len(names) - 2} more"]
    is_scaled = any((carrier.scale, carrier.offset) != (1, 0) for carrier in joint.carriers)
    how = {
        "copy": "as it is",
        "rescale": "rescaling undone",
        "mean": f"mean of {len(names)}{', rescaling undone' if is_scaled else ''}",
        "rest": f"LOST: rests at {joint.rest:.4g}",
    }
    return joint.joint, ", ".join(shown), how[joint.how]


def _range(ends: Range) -> str:
    return "any" if any(map(isinf, ends)) else "[{:.4g}, {:.4g}]".format(*ends)


def _line_to_dict(line: MapLine) -> dict[str, Any]:
    content = asdict(line)
    if line.drive is not None:
        content["drive"]["mapped"] = line.drive.mapped
    return content


def _joint_to_dict(joint: InverseJoint) -> dict[str, Any]:
    carriers = [carrier._asdict() for carrier in joint.carriers]
    return {"joint": joint.joint, "how": joint.how, "carriers": carriers, "rest": joint.rest}
