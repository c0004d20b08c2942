"""The first line of a ledger: all that the output's bytes depend on beside the sources' files, and how runs differ."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.embodiments.robot import is_path
from millrace.engine.errors import OtherRecipe
from millrace.engine.layout import LEDGER, OUTPUT_VERSION
from millrace.engine.output.versions import byte_versions
from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.sources.location import HUB, parse_hub_id
from millrace.engine.video.backends import CPU_BACKENDS, Backends

OUTPUT = "output version"
LIBRARIES = "libraries"
SOURCES = "sources"
NAME, PLACE = "name", "digest of its path"
STAGES = "stages"
PART = "part of the episodes"
MAPS = "content of the map's and its robots' files"
ADVICE = "choose another folder, or pass --overwrite to replace what is there"


def header_of(plan: ConversionPlan) -> dict[str, Any]:
    """The line for a plan; a folder or file of this machine is told by name and digest, as others may read the line."""
    recipe = plan.recipe.model_dump(mode="json")
    for source, binding in zip(recipe[SOURCES], plan.job.bindings, strict=True):
        if binding.revision is None:
            source["path"] = _identity(binding.root)
        source["map"] = _named(source["map"])
    return {
        **recipe,
        "robot": _named(recipe["robot"]),
        PART: plan.split,
        MAPS: [binding.map.digest for binding in plan.job.bindings],
        STAGES: plan.job.video.backends.model_dump(mode="json"),
        LIBRARIES: byte_versions(),
        OUTPUT: OUTPUT_VERSION,
    }


def _named(name: str | None) -> str | dict[str, str] | None:
    """A map or robot: the name of one that ships, or what stands for its file."""
    return _identity(Path(name)) if name is not None and is_path(name) else name


def _identity(path: Path) -> dict[str, str]:
    """What is the same for every spelling of a path, and does not say where it lies."""
    place = path.resolve()
    return {NAME: place.name, PLACE: hashlib.sha256(os.fsencode(place)).hexdigest()}


def check_same(line: bytes, header: Mapping[str, Any], out: Path) -> None:
    """See that a ledger's first line is of the same settings.

    Raises:
        OtherRecipe: it is not, or is damaged; says what differs and what to do.
    """
    try:
        before = json.loads(line)
    except ValueError:
        before = None
    if not isinstance(before, dict) or not isinstance(before.get(SOURCES), list):
        raise OtherRecipe(f"{out}/{LEDGER} is damaged, so it cannot be continued: {ADVICE}")
    if before.get(OUTPUT) != header[OUTPUT]:
        which = "of another version" if OUTPUT in before else "0.1.0"
        raise OtherRecipe(
            f"{out} was created by Millrace {which}, which may write other bytes: use that version, {ADVICE}"
        )
    changed = list(_differences(before, header))
    if changed:
        raise OtherRecipe(f"{out} was created with other settings: {ADVICE}. Changed: {'; '.join(changed)}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs, in words: fields as the command line names them, each with both values."""
    keys = [key for key in now if before.get(key) != now[key]]
    for key in keys:
        if key == SOURCES:
            yield from _of_sources(before[key], now[key])
        elif key == LIBRARIES and isinstance(before.get(key), dict):
            yield from _of_fields(before[key], now[key])
        elif key == MAPS:  # a map of another name is told as such
            if SOURCES not in keys and "robot" not in keys:
                yield "the map's or its robots' files were edited"
        else:
            yield f"{key.replace('_', '-')}: {_change(before.get(key), now[key])}"


def _of_sources(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> Iterator[str]:
    paths = [[_brief(source.get("path")) for source in sources] for sources in (before, now)]
    if len(before) != len(now):
        yield f"sources: {', '.join(paths[0])} -> {', '.join(paths[1])}"
        return
    for source, other in zip(before, now, strict=True):
        where = f" of {_brief(other['path'])}" if len(now) > 1 else ""
        yield from (f"{difference}{where}" for difference in _of_fields(source, other))


def _of_fields(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in now:
        if before.get(name) != now[name]:
            field = "source" if name == "path" else name.replace("_", "-")
            yield f"{field}: {_change(before.get(name), now[name])}"


def _change(before: object, now: object) -> str:
    """Two values that differ; folders or files of one name, too."""
    texts = _brief(before), _brief(now)
    return f"another {texts[1]}, in another folder" if texts[0] == texts[1] else " -> ".join(texts)


def _brief(value: object) -> str:
    if isinstance(value, dict) and value.keys() == {NAME, PLACE}:
        return str(value[NAME])
    if isinstance(value, dict):
        return ", ".join(f"{key}={_brief(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    return "none" if value is None else str(value)


def _begun(out: Path) -> dict[str, Any]:
    """The header of an earlier run; empty where there was none, or it cannot be understood."""
    try:
        with (out / LEDGER).open("rb") as file:
            begun = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return begun if isinstance(begun, dict) else {}


def begun_stages(out: Path) -> Backends | None:
    """How the pictures of an earlier run were made; None where there was none."""
    begun = _begun(out)
    try:
        return Backends.model_validate(begun.get(STAGES, CPU_BACKENDS)) if begun else None
    except ValueError:
        return None


def begun_part(out: Path) -> object:
    """Which of a recipe's datasets an earlier run made in a folder; None where it was all, or there was none."""
    return _begun(out).get(PART)


def begun_commits(out: Path) -> dict[str, Path]:
    """The commits of the Hub's datasets that an earlier run read, as sources to name, by repository."""
    sources = _begun(out).get(SOURCES)
    paths = [source.get("path") for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    ids = [parse_hub_id(path) for path in paths if isinstance(path, str) and not Path(path).is_absolute()]
    return {hub_id.repo: Path(f"{HUB}{hub_id}") for hub_id in ids if hub_id is not None and hub_id.revision is not None}
