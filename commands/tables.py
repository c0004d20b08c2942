"""Lines and tables on a terminal; their texts are shown as they are, without markup or terminal commands."""

import os
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millrace.commands.flags import show

# Columns of a file or a pipe.
UNLIMITED = 100_000


def make_console() -> Console:
    """Standard output; where that is no terminal, lines are as long as they need to be, so that paths stay whole."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNLIMITED
    return console


def print_line(text: object, console: Console) -> None:
    """Print a text as one line, unwrapped so that it can be searched."""
    console.print(safe(text), soft_wrap=True, highlight=False)


def safe(text: object) -> str:
    """Untrusted text in one line, its settings as flags, without terminal commands or markup."""
    return escape(show(text))


def make_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is never cut, as users type its names."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(safe, row))
    return table


def make_fact_table() -> Table:
    """An empty table of facts: a name and a text in each row."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    return table
