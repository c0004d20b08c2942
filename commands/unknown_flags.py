"""Report flags that a command does not have, with the nearest one that it has."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from tyro.conf import Positional

from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

# The parser's own.
ALWAYS = ("help", "tyro-print-completion", "tyro-write-completion")
# Flags of the guides' scripts and of other tools; what takes their place.
ELSEWHERE = {
    "target-fps": "--fps",
    "target-resolution": "--image-size",
    "resolution": "--image-size",
    "input": "SOURCE, without a flag",
    "input-dir": "SOURCE, without a flag",
    "output": "OUT, without a flag",
    "output-dir": "OUT, without a flag",
    "root": "the folder, without a flag",
    "repo-id": "hf://org/name, without a flag",
}


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
        if flag in _positionals(command):
            hint = "Give it without a flag"
        elif flag in ELSEWHERE and not _is_near(flag, known):
            hint = f"Use {ELSEWHERE[flag]}"
        else:
            near = get_close_matches(flag, known, n=1)
            hint = f"Did you mean --{near[0]}?" if near else f"`millrace {name} --help` lists its flags"
        flags = tuple(f"--{one}" for one in known)
        raise RecipeError(f"--{flag} is not a flag of `millrace {name}`. ", Remedy(hint), got=f"--{flag}", known=flags)


def _flags(command: type) -> Iterator[str]:
    """All names of a command's flags, without hyphens."""
    kinds = get_type_hints(command, include_extras=True)
    for field in fields(command):
        if Positional not in get_args(kinds[field.name]):
            yield from (name.replace("_", "-").lstrip("-") for name in _names(field.name, kinds[field.name]))


def _positionals(command: type) -> list[str]:
    kinds = get_type_hints(command, include_extras=True)
    return [name for name, kind in kinds.items() if Positional in get_args(kind)]


def _names(field: str, kind: Any) -> Iterator[str]:
    settings = get_args(kind)[1:]
    renamed = next((found for setting in settings if (found := getattr(setting, "name", None))), field)
    yield renamed
    yield f"no-{renamed}"
    for setting in settings:
        yield from getattr(setting, "aliases", None) or ()


def _takes(word: str, command: type) -> bool:
    """Whether a word is a flag that takes what follows as its value, whatever that is."""
    if not word.startswith("--") or "=" in word:
        return False
    kinds = get_type_hints(command)
    name = word.removeprefix("--").replace("-", "_")
    return name in kinds and kinds[name] is not bool


def _is_near(flag: str, known: Sequence[str]) -> bool:
    return bool(get_close_matches(flag, known, n=1, cutoff=0.85))
