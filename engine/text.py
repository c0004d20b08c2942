"""Text as a terminal may show it, wherever it comes from."""

import re
from collections.abc import Sequence
from datetime import timedelta

MAX_SECONDS = timedelta(days=365_000).total_seconds()


def printable(text: object) -> str:
    """Untrusted text without line breaks, terminal commands or halves of characters."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def format_count(number: int, noun: str) -> str:
    """A number of things: "1 episode", "1,200 episodes"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """A duration in its largest fitting units: "4 h 05 min"; in seconds where only a wrong rate explains it."""
    if seconds >= MAX_SECONDS:
        return f"{seconds:.3g} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"


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
