"""Flags that may be named without a value, such as `--strict` beside `--strict error`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from millrace.train.flag_types import Bare


@dataclass(frozen=True)
class BareFlag:
    """Such a flag: the value that it means alone, and those that it may have; none: it may have any."""

    default: str
    choices: tuple[str, ...]

    def takes(self, word: str | None) -> bool:
        """Whether the word behind the flag is its value; None: there is none."""
        if word is None:
            return False
        return word in self.choices if self.choices else word == self.default or not word.startswith("-")


@cache
def find_bare_flags(command: type) -> Mapping[str, BareFlag]:
    """A command's flags of this kind, by their names without hyphens at the start."""
    kinds = get_type_hints(command, include_extras=True)
    marked = {name: [mark for mark in get_args(kind)[1:] if isinstance(mark, Bare)] for name, kind in kinds.items()}
    return {
        name.replace("_", "-"): BareFlag(marks[0].value, _list_choices(get_args(kinds[name])[0]))
        for name, marks in marked.items()
        if marks
    }


def _list_choices(kind: Any) -> tuple[str, ...]:
    inner = [part for part in get_args(kind) if part is not NoneType]
    return get_args(inner[0]) if get_origin(inner[0]) is Literal else ()
