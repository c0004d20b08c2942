"""`millrace maps`."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.map_text import map_to_dict, print_map
from millrace.commands.print_flags import PrintFlags
from millrace.commands.tables import make_console, make_table, print_line
from millrace.embodiments import Remedy, is_path, load_map, load_robot, map_names, robot_names, unknown_name
from millrace.engine.drafting.draft_map import draft_map
from millrace.engine.errors import OutputExists, RecipeError
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import locate_source, open_source, why_unwritable
from millrace.engine.text import format_count
from millrace.train.flag_types import option


@dataclass(frozen=True, kw_only=True)
class Maps(PrintFlags):
    """List the maps that ship; show one: what drives each joint, in which range, and the way back; or draft a new one.

    Examples:

    millrace maps

    millrace maps show aloha_to_gr1_rescaled

    millrace maps show mine_to_gr1.yaml --json

    millrace maps new --from mine.yaml --to gr1 --out mine_to_gr1.yaml
    """

    words: Annotated[tuple[str, ...], tyro.conf.Positional, arg(metavar="list|show NAME|new")] = ()
    """What to do; show takes the name of a map that ships, or the path of a file."""
    source: Annotated[str | None, arg(name="from", metavar="ROBOT|DATASET", help_behavior_hint="")] = None
    """Of a new map, the robot that is recorded: its name, its file, or a dataset of it."""
    to: Annotated[str | None, option("ROBOT")] = None
    """Of a new map, the robot to convert to, by name or file."""
    out: Annotated[Path | None, option("FILE")] = None
    """The new map's file; by default FROM_to_TO.yaml here."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Print the list, or a map."""
        what, *names = self.words or ("list",)
        if what == "list" and not names:
            return self._list()
        if what == "new" and not names:
            return self._draft()
        if what not in ("list", "show", "new"):
            what, names = "show", [what, *names]
        if what != "show" or len(names) != 1:
            raise RecipeError("millrace maps lists all maps, millrace maps show NAME shows one")
        return self._show(*names)

    def _list(self) -> int:
        if self.json:
            rows = [dict(zip(("map", "from", "to", "description"), _row(name), strict=True)) for name in map_names()]
            print(json.dumps(rows, indent=2))
            return 0
        make_console().print(make_table(("map", "from", "to", ""), map(_row, map_names())))
        return 0

    def _draft(self) -> int:
        if self.source is None or self.to is None:
            raise RecipeError("maps new needs --from ROBOT or DATASET, and --to ROBOT")
        source, target = name_robot(self.source), self.to
        robots = load_robot(source), load_robot(target)
        out = self.out or Path(f"{robots[0].name}_to_{robots[1].name}.yaml")
        names = [_name_in(out.parent, name) for name in (source, target)]
        draft = draft_map(*robots, source_name=names[0], target_name=names[1])
        if out.exists():
            raise OutputExists(f"{out} exists; name another file with --out")
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(draft.text)
        except OSError as error:
            raise RecipeError(f"{out} ", why_unwritable(out, error), file=out) from error
        path = str(out) if is_path(str(out)) else f"./{out}"
        print_line(f"wrote {out}: check its {format_count(draft.num_doubts, 'line')} with CHECK, then", make_console())
        print_line(f"millrace maps show {shlex.quote(path)}", make_console())
        return 0

    def _show(self, name: str) -> int:
        found = load_map(name)
        if self.json:
            print(to_json_text(map_to_dict(found)))
        else:
            print_map(found, make_console())
        return 0


def name_robot(source: str) -> str:
    """The name or file of a robot, or of the shipped robot that a dataset is of.

    Raises:
        RecipeError: no shipped robot is the dataset's.
    """
    if source in robot_names() or (is_path(source) and source.endswith((".yaml", ".yml"))):
        return source
    if not Path(source).exists() and "/" not in source:
        raise unknown_name(source, "robot or dataset", robot_names())
    guess = guess_robot(open_source(locate_source(source)), source)
    if guess.name is None or guess.confidence == "weak":
        raise RecipeError(
            f"{source}: {guess.reason}. ",
            Remedy(f"Draft its robot first: `millrace robots new --from {shlex.quote(source)} --out mine.yaml`"),
        )
    return guess.name


def _name_in(folder: Path, robot: str) -> str:
    """A robot as a map file in a folder names it: a shipped one, or a path from there."""
    if not is_path(robot):
        return robot
    path = os.path.relpath(robot, folder)
    return path if path.startswith(("/", ".")) else f"./{path}"


def _row(name: str) -> tuple[str, ...]:
    found = load_map(name)
    return name, found.source.name, found.target.name, found.description
