"""Bounds for what a page shows of texts that a dataset's files hold, however many and long those are."""

from collections.abc import Iterable

from millrace.engine.text import printable

MAX_TEXT = 400  # characters
MAX_TEXTS = 100


def limit_text(text: object) -> str:
    """An untrusted text in one line of bounded length."""
    shown = str(text)
    return printable(shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]} ...")


def take_first(texts: Iterable[object], *, most: int = MAX_TEXTS) -> tuple[str, ...]:
    """The first of several texts, each shortened, and how many more there are."""
    found = tuple(texts)
    more = (f"and {len(found) - most:,} more",) if len(found) > most else ()
    return (*map(limit_text, found[:most]), *more)
