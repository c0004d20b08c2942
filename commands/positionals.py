"""Reorder a command line's words so that every version of tyro understands them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import get_args, get_origin, get_type_hints

from tyro.conf import UseAppendAction

SEVERAL = 2
CAMERA_FLAGS = ("camera",)  # flags whose values are NAME=VALUE or -NAME: any other word but the first is a positional


def move_positionals_first(words: Sequence[str], command: type) -> list[str]:
    """Move the words that are neither flags nor values of flags before the flags.

    tyro before 1.0, which GR00T pins, takes OUT, which is optional, only directly after SOURCE:

        SOURCE --fps 10 OUT  ->  SOURCE OUT --fps 10
    """
    counts = _value_counts(command)
    first: list[str] = []
    flags: list[str] = []
    num_values, is_camera = 0, False  # what the last flag still takes, and whether -NAME may be among it
    for number, word in enumerate(words):
        if word == "--":  # no flag comes any more
            return [*first, *flags, *words[number:]]
        if num_values != 1 and word.startswith("--"):
            name, _, value = word.removeprefix("--").partition("=")
            num_values = 0 if value else counts.get(name.replace("_", "-"), 1)
            is_camera = name in CAMERA_FLAGS
            flags.append(word)
        elif num_values and is_camera and word.startswith("-") and len(word) > 1:
            flags.append(f"{word[1:]}=")  # a parser would take -NAME for a flag; see commands/convert.py
        elif num_values and not (is_camera and "=" not in word and flags[-1] != f"--{name}"):
            num_values = SEVERAL if num_values == SEVERAL else 0
            flags.append(word)
        else:
            num_values = 0
            first.append(word)
    return [*first, *flags]


def _value_counts(command: type) -> dict[str, int]:
    """How many words each flag takes: 0, 1 or SEVERAL; one that is not here takes 1."""
    counts = {"help": 0}
    kinds, marked = get_type_hints(command), get_type_hints(command, include_extras=True)
    for field in fields(command):
        name, kind = field.name.replace("_", "-"), kinds[field.name]
        is_many = any(get_origin(part) in (tuple, dict) for part in (kind, *get_args(kind)))
        if kind is bool:
            counts |= {name: 0, f"no-{name}": 0}
        elif is_many and UseAppendAction not in get_args(marked[field.name]):
            counts[name] = SEVERAL
    return counts
