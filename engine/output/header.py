"""The first line of a ledger: settings that the output's bytes depend on, and how those of two runs differ."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.embodiments import Message, Remedy, Setting, is_path
from millrace.embodiments.messages import join_texts
from millrace.engine.errors import OtherRecipe
from millrace.engine.layout import LEDGER, OUTPUT_VERSION
from millrace.engine.output.versions import byte_versions
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.recipe import Recipe, SourceSpec
from millrace.engine.planning.recipe_problems import write_recipe_keys

OUTPUT = "output version"
LIBRARIES = "libraries"
SOURCES = "sources"
NAME, PLACE = "name", "digest of its path"
BACKENDS = "stages"
SPLIT = "part of the episodes"
SIZES = "sizes of the cameras' frames"
SHIFTS = "frames by which actions are shifted"
MAPS = "content of the map's and its robots' files"
# Keys of a source that are no settings of these names.
OF_SOURCES = {"path": "source", "cameras": "cameras", "fps": Setting("source_fps")}
ADVICE = Remedy("choose another folder, or pass ", Setting("overwrite", True), " to replace what is there")


def make_header(plan: ConversionPlan) -> dict[str, Any]:
    """The line for a plan; folders and files of this machine appear by name and digest, as others may read the line."""
    recipe = plan.recipe.model_dump(mode="json")
    for source, binding in zip(recipe[SOURCES], plan.job.bindings, strict=True):
        source["path"] = binding.address or _identity(binding.root)
        source["map"], source["format"] = _public_name(source["map"]), _public_name(source["format"])
    return {
        **recipe,
        "robot": _public_name(recipe["robot"]),
        SPLIT: plan.split,
        MAPS: [binding.map.digest for binding in plan.job.bindings],
        BACKENDS: plan.job.video.backends.model_dump(mode="json"),
        **_own_sizes(plan),
        **_shifts(plan),
        LIBRARIES: byte_versions(),
        OUTPUT: OUTPUT_VERSION,
    }


def _own_sizes(plan: ConversionPlan) -> dict[str, Any]:
    """The cameras' sizes, where the sources decide them."""
    return {SIZES: {camera: str(size) for camera, size in plan.job.sizes.items()}} if plan.job.crop == "none" else {}


def _shifts(plan: ConversionPlan) -> dict[str, Any]:
    """The shift of each source's actions, where one was asked for."""
    asked = [one for one in (plan.recipe.align_action, *(spec.align_action for spec in plan.recipe.sources)) if one]
    return {SHIFTS: [binding.action_shift for binding in plan.job.bindings]} if asked else {}


def _public_name(name: str | None) -> str | dict[str, str] | None:
    """A map, robot or format: the name of one that ships, or the identity of its file."""
    return _identity(Path(name)) if name is not None and is_path(name) else name


def _identity(path: Path) -> dict[str, str]:
    """Identifies a path however it is written, without saying where it lies."""
    place = path.resolve()
    return {NAME: place.name, PLACE: hashlib.sha256(os.fsencode(place)).hexdigest()}


def check_header(line: bytes, header: Mapping[str, Any], out: Path, *, recipe: Recipe) -> None:
    """Check that a ledger's first line has the same settings; recipe: whose they are.

    Raises:
        OtherRecipe: it has others, or is damaged; says what differs and what to do.
    """
    try:
        before = json.loads(line)
    except ValueError:
        before = None
    if not isinstance(before, dict) or not _is_list_of_dicts(before.get(SOURCES)):
        raise OtherRecipe(f"{out}/{LEDGER} is damaged, so it cannot be continued: ", ADVICE, file=out / LEDGER)
    if before.get(OUTPUT) != header[OUTPUT]:
        which = "of another version" if OUTPUT in before else "0.1.0"
        problem = f"{out} was created by Millrace {which}, which may write other bytes: "
        advice = Remedy("use that version, ", ADVICE)
        raise OtherRecipe(problem, advice, file=out, got=header[OUTPUT], expected=before.get(OUTPUT))
    changed = list(_differences(_with_defaults(before), header))
    if changed:
        problem = f"{out} was created with other settings: "
        message = Message(problem, ADVICE, ". Changed: ", join_texts(changed))
        raise OtherRecipe(write_recipe_keys(message, recipe), file=out, got=changed)


def _is_list_of_dicts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _with_defaults(header: Mapping[str, Any]) -> dict[str, Any]:
    """The header with the defaults of settings that its version lacked: these leave the bytes as they were."""
    recipe, spec = Recipe.model_construct(sources=()), SourceSpec(path=Path())
    sources = [{**spec.model_dump(mode="json"), **source} for source in header[SOURCES]]
    return {**recipe.model_dump(mode="json"), **header, SOURCES: sources}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Settings and other facts that differ, each with both values."""
    keys = [key for key in now if before.get(key) != now[key]]
    for key in keys:
        if key == SOURCES:
            yield from _source_differences(before[key], now[key])
        elif key == LIBRARIES and isinstance(before.get(key), dict):
            for name in (name for name in now[key] if before[key].get(name) != now[key][name]):
                yield f"{name}: {_change(before[key].get(name), now[key][name])}"
        elif key == MAPS:  # a map of another name is told as such
            if SOURCES not in keys and "robot" not in keys:
                yield "the map's or its robots' files were edited"
        else:
            name = Setting(key) if key in Recipe.model_fields else key
            yield Message(name, f": {_change(before.get(key), now[key])}")


def _source_differences(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> Iterator[str]:
    paths = [[_brief(source.get("path")) for source in sources] for sources in (before, now)]
    if len(before) != len(now):
        yield f"sources: {', '.join(paths[0])} -> {', '.join(paths[1])}"
        return
    for source, other in zip(before, now, strict=True):
        where = f" of {_brief(other['path'])}" if len(now) > 1 else ""
        for name in (name for name in other if source.get(name) != other[name]):
            yield Message(OF_SOURCES.get(name, Setting(name)), f": {_change(source.get(name), other[name])}{where}")


def _change(before: object, now: object) -> str:
    """Two values that differ, which may be folders or files of one name."""
    texts = _brief(before), _brief(now)
    if texts[0] != texts[1]:
        return " -> ".join(texts)
    return f"another {texts[1]}, in another folder" if _is_identity(now) else f"{before!r} -> {now!r}"


def _is_identity(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {NAME, PLACE}


def _brief(value: object) -> str:
    if isinstance(value, dict) and _is_identity(value):
        return str(value[NAME])
    if isinstance(value, dict):
        return ", ".join(f"{key}={_brief(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    return "none" if value is None else str(value)
