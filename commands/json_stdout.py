"""JSON alone on standard output: whether a command line asks for it, and where everything else is printed."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import TextIO, get_type_hints

STDOUT = Path("-")


def asks_for_json(words: Sequence[str], command: type) -> bool:
    """Whether a command line asks for JSON on standard output, as far as its words tell before they are parsed.

    Args:
        words: Of the command line, after the command's name.
        command: A dataclass whose fields are flags.
    """
    if "json" not in {field.name for field in fields(command)}:
        return False
    is_switch = get_type_hints(command)["json"] is bool
    followed = zip_longest(words, words[1:])
    bare = (is_switch or after is None or after.startswith("-") for word, after in followed if word == "--json")
    return any(bare) or f"--json={STDOUT}" in words


def prints_json(command: object) -> bool:
    """Whether a parsed command prints JSON on standard output."""
    return getattr(command, "json", False) in (True, STDOUT)


@contextmanager
def keep_stdout(is_kept: bool) -> Iterator[TextIO]:
    """Standard output; if it is kept for JSON, what else prints goes to standard error: Python, C and processes."""
    if not is_kept:
        yield sys.stdout
        return
    stdout, is_file = sys.stdout, sys.stdout is sys.__stdout__
    stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as kept, redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        try:
            yield kept if is_file else stdout
        finally:
            sys.stderr.flush()
            kept.flush()
            os.dup2(kept.fileno(), 1)
