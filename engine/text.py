"""Text as a terminal may show it, wherever it comes from."""

import re
from collections.abc import Sequence


def printable(text: object) -> str:
    """Untrusted text without line breaks, terminal commands or halves of characters."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def format_count(number: int, noun: str) -> str:
    """A number of things: "1 episode", "1,200 episodes"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join_names(names: Sequence[str], limit: int = 8) -> str:
    """A list of names, cut short: "a, b, c and 20 more"."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def code_span(text: str) -> str:
    """A text from a source as a code span of one line, so that it is not read as Markdown or HTML."""
    text = printable(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text or not text else f"{fence}{text}{fence}"


def code_cell(text: str) -> str:
    """Likewise within a table, where a pipe ends a cell in code, too."""
    return code_span(text).replace("|", "\\|")
