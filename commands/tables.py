"""Tables of robots, maps and stages."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table


def make_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is never cut, as users type its names."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
