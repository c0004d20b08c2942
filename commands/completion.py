"""Scripts by which a shell completes `millrace`'s commands and flags, as the parser writes them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

from millrace.commands.flag_groups import make_parser_type

FLAGS = ("--tyro-print-completion", "--tyro-write-completion")


def asks_for_completion(words: Sequence[str]) -> bool:
    """Whether a command line asks for such a script, by itself or behind a command."""
    return any(_write_hyphens(word) in FLAGS for word in words)


def write_completion(words: Sequence[str], commands: Mapping[str, Any]) -> None:
    """Write the script of all commands, for the shell that the words name: one script completes them all.

    Args:
        words: Of the command line; those before the flag are not looked at.
        commands: By name.

    Raises:
        SystemExit: when it is written, or no shell is named that there is a script for.
    """
    kinds: list[Any] = [
        Annotated[make_parser_type(command), tyro.conf.subcommand(name=name, description=_describe(command))]
        for name, command in commands.items()
    ]
    start = next(place for place, word in enumerate(words) if _write_hyphens(word) in FLAGS)
    either: Any = reduce(or_, kinds)
    tyro.cli(either, prog="millrace", args=[_write_hyphens(words[start]), *words[start + 1 :]])


def _write_hyphens(word: str) -> str:
    return word.replace("_", "-") if word.startswith("--") else word


def _describe(command: type) -> str:
    return (command.__doc__ or "").partition("\n")[0]
