"""`millrace maps`."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.map_text import map_to_dict, print_map
from millrace.commands.print_flags import PrintFlags
from millrace.commands.tables import make_console, make_table
from millrace.embodiments import load_map, map_names
from millrace.engine.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Maps(PrintFlags):
    """List the maps that ship, or show one: what drives each joint, in which range, and the way back.

    Examples:

    millrace maps

    millrace maps show aloha_to_gr1_rescaled

    millrace maps show mine_to_gr1.yaml --json
    """

    words: Annotated[tuple[str, ...], tyro.conf.Positional, arg(metavar="list|show NAME")] = ()
    """What to do; show takes the name of a map that ships, or the path of a file."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Print the list, or a map."""
        what, *names = self.words or ("list",)
        if what == "list" and not names:
            return self._list()
        if what not in ("list", "show"):
            what, names = "show", [what, *names]
        if what == "list" or len(names) != 1:
            raise RecipeError("millrace maps lists all maps, millrace maps show NAME shows one")
        return self._show(*names)

    def _list(self) -> int:
        if self.json:
            rows = [dict(zip(("map", "from", "to", "description"), _row(name), strict=True)) for name in map_names()]
            print(json.dumps(rows, indent=2))
            return 0
        make_console().print(make_table(("map", "from", "to", ""), map(_row, map_names())))
        return 0

    def _show(self, name: str) -> int:
        found = load_map(name)
        if self.json:
            print(to_json_text(map_to_dict(found)))
        else:
            print_map(found, make_console())
        return 0


def _row(name: str) -> tuple[str, ...]:
    found = load_map(name)
    return name, found.source.name, found.target.name, found.description
