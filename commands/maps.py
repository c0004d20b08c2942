"""`millrace maps`."""

from dataclasses import dataclass

from rich.console import Console

from commands.flags import Flag
from commands.listing import listing
from embodiments import load_map, map_names


@dataclass(frozen=True)
class Maps:
    """List the maps that ship: from which robot to which."""

    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Print the list."""
        Console().print(listing(("map", "from", "to", ""), map(_row, map_names())))
        return 0


def _row(name: str) -> tuple[str, ...]:
    found = load_map(name)
    return name, found.source.name, found.target.name, found.description
