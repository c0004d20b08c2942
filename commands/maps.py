"""`millrace maps`."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from millrace.commands.tables import make_table
from millrace.embodiments import load_map, map_names
from millrace.embodiments.mapping import MAPS
from millrace.engine.errors import RecipeError
from millrace.train.flag_types import Flag


@dataclass(frozen=True)
class Maps:
    """List the maps that ship: from which robot to which."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, arg(metavar="")] = ()
    """Accepted only to say what to do instead."""
    json: Flag = False
    """Print JSON instead of text."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Print the list."""
        if names := [name for name in self.names if name not in ("show", "list")]:
            file = MAPS / f"{load_map(names[0]).name}.yaml"
            raise RecipeError(f"millrace maps takes no names: it lists all maps. The file of {names[0]!r} is {file}")
        if self.json:
            rows = [dict(zip(("map", "from", "to", "description"), _row(name), strict=True)) for name in map_names()]
            print(json.dumps(rows, indent=2))
            return 0
        Console().print(make_table(("map", "from", "to", ""), map(_row, map_names())))
        return 0


def _row(name: str) -> tuple[str, ...]:
    found = load_map(name)
    return name, found.source.name, found.target.name, found.description
