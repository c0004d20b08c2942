"""Report flags that a command does not have, with the nearest one that it has."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from tyro.conf import Positional

from millrace.commands.bare_flags import find_bare_flags
from millrace.commands.foreign_words import advise_on_flag
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

# The parser's own.
ALWAYS = ("help", "tyro-print-completion", "tyro-write-completion")


def check_flags(words: Sequence[str], command: type, *, name: str) -> None:
    """Check that a command has every flag on its command line.

    Args:
        words: Of the command line, after the command's name.
        command: A dataclass whose fields are flags.
        name: The command's.

    Raises:
        RecipeError: it lacks one; names the nearest.
    """
    known = [*ALWAYS, *_flags(command)]
    for number, word in enumerate(words):
        if word == "--":
            return
        flag = word.removeprefix("--").partition("=")[0].replace("_", "-")
        if not word.startswith("--") or flag in known or (number and _takes(words[number - 1], command)):
            continue
        flags = tuple(f"--{one}" for one in known)
        hint = Remedy(_advise(flag, known, command, name))
        raise RecipeError(f"--{flag} is not a flag of `millrace {name}`. ", hint, got=f"--{flag}", known=flags)


def list_places(command: type) -> dict[str, str]:
    """What a command takes, by its fields: flags as they are written, positional arguments by their metavars."""
    kinds = get_type_hints(command, include_extras=True)
    return {
        one.name: _metavar(one.name, kinds[one.name])
        if Positional in get_args(kinds[one.name])
        else f"--{next(_names(one.name, kinds[one.name])).replace('_', '-')}"
        for one in fields(command)
    }


def _advise(flag: str, known: Sequence[str], command: type, name: str) -> str:
    """What to write in place of a flag."""
    places = list_places(command)
    if not places.get(flag, "-").startswith("-"):
        return f"Write {places[flag]} without a flag"
    if advice := advise_on_flag(flag, places):
        return advice
    near = get_close_matches(flag, known, n=1)
    return f"Did you mean --{near[0]}?" if near else f"`millrace {name} --help` lists its flags"


def _flags(command: type) -> Iterator[str]:
    """All names of a command's flags, without hyphens."""
    kinds = get_type_hints(command, include_extras=True)
    for field in fields(command):
        if Positional not in get_args(kinds[field.name]):
            yield from (name.replace("_", "-").lstrip("-") for name in _names(field.name, kinds[field.name]))


def _metavar(field: str, kind: Any) -> str:
    given = (getattr(setting, "metavar", None) for setting in get_args(kind)[1:])
    metavar = next((one for one in given if one is not None), field.upper())
    return metavar.removeprefix("[").removesuffix("]") if metavar.endswith("]") else metavar


def _names(field: str, kind: Any) -> Iterator[str]:
    settings = get_args(kind)[1:]
    renamed = next((found for setting in settings if (found := getattr(setting, "name", None))), field)
    yield renamed
    if bool in (get_args(kind)[:1] or (kind,)):
        yield f"no-{renamed}"
    for setting in settings:
        yield from getattr(setting, "aliases", None) or ()


def _takes(word: str, command: type) -> bool:
    """Whether a word is a flag that takes what follows as its value, whatever that is."""
    if not word.startswith("--") or "=" in word:
        return False
    kinds = get_type_hints(command)
    name = word.removeprefix("--").replace("-", "_")
    return name in kinds and kinds[name] is not bool and name.replace("_", "-") not in find_bare_flags(command)
