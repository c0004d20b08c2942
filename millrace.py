"""Millrace streams LeRobot datasets of any robot into what NVIDIA GR00T N1.6 trains on.

import millrace
source = millrace.open_source("data/aloha")
millrace.convert(millrace.Recipe.single(source, map="aloha_to_gr1"), "out/aloha_gr1")
millrace.validate("out/aloha_gr1")
"""

import sys
from typing import Annotated

import tyro

from commands.convert import Convert
from commands.inspect import Inspect
from commands.validate import Validate
from embodiments import load_map, load_robot, map_names, robot_names
from embodiments.errors import MillraceError
from engine.convert import Workers, convert
from engine.errors import EpisodesFailed
from engine.inspection import inspect_dataset
from engine.recipe import Recipe
from engine.sources import open_source
from engine.text import printable
from engine.validate import validate

__all__ = [
    "MillraceError",
    "Recipe",
    "Workers",
    "convert",
    "inspect_dataset",
    "load_map",
    "load_robot",
    "map_names",
    "open_source",
    "robot_names",
    "validate",
]

STOPPED = 130  # as shells report a Ctrl-C

Command = Annotated[
    Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Validate, tyro.conf.subcommand("validate")],
    tyro.conf.OmitSubcommandPrefixes,
]


def main(arguments: list[str] | None = None) -> int:
    """The command `millrace`; returns its exit code: 0, 1 for bad data, 2 for a bad command, map or recipe."""
    command = tyro.cli(Command, prog="millrace", description=(__doc__ or "").splitlines()[0], args=arguments)
    try:
        return command.run()
    except KeyboardInterrupt:
        print(command.when_stopped, file=sys.stderr)
        return STOPPED
    except Exception as error:
        if command.debug:
            raise
        return _report(error)


def _report(error: Exception) -> int:
    """One line for each thing that is wrong, on standard error, whatever the dataset's texts hold."""
    if isinstance(error, MillraceError):
        lines = error.lines if isinstance(error, EpisodesFailed) else [str(error)]
    elif isinstance(error, OSError):
        lines = [str(error)]
    else:
        lines = [f"internal error, {type(error).__name__}: {error} (--debug shows where)"]
    for line in lines:
        print(printable(line), file=sys.stderr)
    return error.exit_code if isinstance(error, MillraceError) else 1


if __name__ == "__main__":
    sys.exit(main())
