"""Sections of a dataset's card that every layout has: what was left out or held out, and the recipe."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import yaml

from millrace.engine.layout import MANIFEST, PREVIEW
from millrace.engine.output.card_facts import CardFacts
from millrace.engine.planning.holdout import HELD_OUT
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources.containment import hide_targets
from millrace.engine.text import code_span, format_count, printable

MAX_REASONS, MAX_LINES, MAX_LENGTH = 20, 60, 300
CAPTION = "The first, middle and last frame of up to three episodes, a row for each camera"
PREVIEW_IMAGE = f"![{CAPTION}]({PREVIEW})\n\n{CAPTION}.\n\n"
LEFT_OUT = """\
## Episodes left out

{lines}

`{manifest}` lists them.

"""
SPLITS = {
    "training": f"""\
## Held-out episodes

Some episodes of the sources are held out, to evaluate on. They are not here but in a dataset of their own, which
conversion writes beside this one: its folder has the same name with `{HELD_OUT}` after it.

""",
    "held out": f"""\
## Held-out episodes

All episodes here are held out of the dataset that conversion wrote beside this one, whose folder has the same name
without `{HELD_OUT}`. Evaluate on them, and do not train on them.

""",
}
RECIPE = """\
## Recipe

What was converted, and all settings that are not Millrace's defaults, as a recipe's file holds them:

{lines}

`{manifest}` has every setting, the versions, and where each episode comes from.
"""


def preview_section(facts: CardFacts) -> str:
    """The strip of frames with its caption; empty where there is none."""
    return PREVIEW_IMAGE if facts.has_preview else ""


def left_out_section(facts: CardFacts) -> str:
    """Episodes that failed or that the filter left out: how many, and why; empty where there are none."""
    failed, filtered = (facts.head.get(name, ()) for name in ("quarantine", "filtered"))
    num_filtered = facts.head.get("num_filtered", len(filtered))  # the manifest may list fewer
    lines = [
        *_describe_episodes(failed, len(failed), "could not be converted"),
        *_describe_episodes(filtered, num_filtered, "left out by filter"),
    ]
    return LEFT_OUT.format(lines="\n".join(lines), manifest=MANIFEST) if lines else ""


def _describe_episodes(episodes: Sequence[Mapping[str, Any]], number: int, why: str) -> Iterator[str]:
    """A line for all, and one for each reason, of which only numbers may differ."""
    alike: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in episodes:
        alike[str(one["source"]), str(one["code"]), re.sub(r"\d+", "0", str(one["reason"]))].append(one)
    if episodes:
        yield f"- {format_count(number, 'episode')} {why}"
    for (source, code, _), group in list(alike.items())[:MAX_REASONS]:
        first = f"episode {group[0]['episode']}: {group[0]['reason']}"
        text = first if len(group) == 1 else f"{format_count(len(group), 'episode')}; the first is {first}"
        yield f"  - {code_span(_cut(hide_targets(f'{source}: {code}: {text}')))}"
    if len(alike) > MAX_REASONS:
        yield f"  - and {len(alike) - MAX_REASONS} more reasons"


def held_out_section(facts: CardFacts) -> str:
    """Where held-out episodes are; empty where none are."""
    return SPLITS.get(str(facts.head.get("part")), "")


def recipe_section(facts: CardFacts) -> str:
    """The sources and the settings that are not defaults; empty without a recipe."""
    if not facts.recipe:
        return ""
    settings = _shorten(_changed_settings(facts.recipe))
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=10**6)
    return RECIPE.format(lines="\n".join(_code_lines(text.splitlines())), manifest=MANIFEST)


def _changed_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without what is as it would be by default."""
    default = Recipe.single("source").model_dump(mode="json")
    of_source = {**default["sources"][0], "path": None}
    sources = [_difference(source, of_source) for source in recipe["sources"]]
    return {"sources": sources, **_difference(recipe, {**default, "sources": recipe["sources"]})}


def _difference(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in default or value != default[name]}


def _shorten(value: Any) -> Any:
    """A value of which no list and no text is much longer than what is shown."""
    if isinstance(value, dict):
        return {key: _shorten(part) for key, part in islice(value.items(), MAX_LINES + 1)}
    if isinstance(value, list):
        return [_shorten(part) for part in value[: MAX_LINES + 1]]
    return _cut(value) if isinstance(value, str) else value


def _code_lines(lines: Sequence[str]) -> Iterable[str]:
    """Lines of an indented block of code, in which nothing is read as Markdown or HTML."""
    yield from (f"    {printable(_cut(line))}" for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield "    # and more"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
