"""What the parser refuses, as errors of one line that say what a flag takes."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from millrace.commands.unknown_flags import list_places
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

# What the parser draws around its messages.
BOX, BOX_TITLE = " ─│╭╮╰╯", "╭"  # a title, or with ASCII alone a text and hyphens
VALUES = {int: "a whole number", float: "a number"}


def explain_refusal(printed: str, words: Sequence[str], command: type, *, name: str) -> RecipeError:
    """The error for what the parser printed.

    Args:
        printed: Its message.
        words: Of the command line, after the command's name.
        command: A dataclass whose fields are flags.
        name: The command's.
    """
    lines = (line.strip(BOX) for line in printed.splitlines() if not line.startswith(BOX_TITLE))
    text = " ".join(filter(None, lines))
    places = list_places(command)
    helps = Remedy(f"`millrace {name} --help` lists all that it takes")
    if "Missing from" in text or "are required" in text:
        needed = [places[one.name] for one in fields(command) if _is_needed(one) and places[one.name] in text]
        return RecipeError(f"millrace {name} needs {' and '.join(needed) or 'more'}: ", helps)
    if "Unrecognized" in text or "unrecognized" in text:
        return _explain_excess(text, places, name, helps)
    named = [one for one in fields(command) if _is_named(text, one.name, places[one.name])]
    if not named:
        return RecipeError(text)
    field, kind = max(named, key=lambda one: len(one.name)).name, get_type_hints(command)
    place, expected = places[field], _describe(kind[field])
    if "Missing value" in text:
        return RecipeError(f"{place} needs {expected}: ", helps, expected=expected)
    given = _find_value(place, words, text)
    refused = "" if given is None else f", not {given!r}"
    return RecipeError(f"{place} takes {expected}{refused}", got=given, expected=expected)


def _explain_excess(text: str, places: dict[str, str], name: str, helps: Remedy) -> RecipeError:
    """The error for words that no flag and no positional argument takes."""
    words = text.partition(":")[2].partition(" For full")[0].split()
    word = words[0] if words else ""
    if word.startswith("-"):
        return RecipeError(f"{word} is not a flag of `millrace {name}`: ", helps, got=word)
    taken = " ".join(place for place in places.values() if not place.startswith("-"))
    what = f"takes {taken}" if taken else "takes flags alone"
    return RecipeError(f"millrace {name} {what}; {word!r} is one word more: ", helps, got=word)


def _is_needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _is_named(text: str, field: str, place: str) -> bool:
    """Whether a message is about a field, by its flag or, as a parser's own, by its name."""
    return any(f" {mark}{place}{mark}" in text or f" {place}:" in text for mark in "'\"") or f".{field}'" in text


def _find_value(place: str, words: Sequence[str], text: str) -> str | None:
    """What was given, as the command line has it, or as the message quotes it first."""
    for number, word in enumerate(words):
        flag, has_value, _ = word.replace("_", "-").partition("=")
        if flag == place:
            rest = words[number + 1 :]
            end = next((count for count, one in enumerate(rest) if one.startswith("--")), len(rest))
            return word.partition("=")[2] if has_value else " ".join(rest[:end])
    quoted = text.split("'")
    return quoted[1] if len(quoted) > 1 else None


def _describe(kind: Any) -> str:
    """What a flag takes, in words."""
    inner = [part for part in get_args(kind) if part is not NoneType] if NoneType in get_args(kind) else [kind]
    first = inner[0]
    if get_origin(first) is Literal:
        *others, last = map(str, get_args(first))
        return f"{', '.join(others)} or {last}" if others else last
    if get_origin(first) is dict:
        return f"pairs of a name and {_describe(get_args(first)[1])}"
    if get_origin(first) is tuple:
        return f"{_describe(get_args(first)[0])}, or several"
    return VALUES.get(first, "a value")
