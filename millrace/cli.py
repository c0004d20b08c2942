"""The command `millrace`."""

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from millrace.__main__ import STOPPED
from millrace.commands.completion import asks_for_completion, write_completion
from millrace.commands.flag_groups import read_command
from millrace.commands.flags import show
from millrace.commands.foreign_words import DOWNLOAD, find_command
from millrace.commands.json_output import error_to_json
from millrace.commands.json_stdout import asks_for_json, prints_json
from millrace.commands.overview import list_overview
from millrace.commands.pipe import exit_quietly_if_unread, is_unread
from millrace.commands.positionals import move_positionals_first
from millrace.commands.unknown_flags import check_flags
from millrace.embodiments import MillraceError, Remedy, unknown_name
from millrace.engine.about import VERSION
from millrace.engine.errors import RecipeError

VERSION_WORDS = ("version", "--version", "-V")
HELP_WORDS = ("--help", "-h")

MODULES = {
    "inspect": ("inspect", "Inspect"),
    "report": ("report_page", "MakeReport"),
    "convert": ("convert", "Convert"),
    "validate": ("validate", "Validate"),
    "view": ("rerun_view", "ViewEpisode"),
    "groot-view": ("launcher_view", "MakeView"),
    "robots": ("robots", "Robots"),
    "maps": ("maps", "Maps"),
    "finetune": ("finetune", "Finetune"),
    "evaluate": ("evaluate", "Evaluate"),
    "serve": ("serve", "Serve"),
    "rollout": ("rollout", "RollOut"),
    "pipeline": ("pipeline", "Pipeline"),
    "upload": ("upload", "Upload"),
    "doctor": ("doctor", "Doctor"),
}


class Commands(Mapping[str, Any]):
    """The commands by name; each is imported where it is looked up, as all of them together take long."""

    def __getitem__(self, name: str) -> Any:
        module, command = MODULES[name]
        return getattr(import_module(f"millrace.commands.{module}"), command)

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


COMMANDS = Commands()


def main(arguments: list[str] | None = None) -> int:
    """Run the command `millrace`; returns its exit code: 0, 1 for bad data, 2 for a bad command, map or recipe."""
    with exit_quietly_if_unread():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _run(words: list[str]) -> int:
    if words and words[0] in VERSION_WORDS:
        print(f"millrace {VERSION}")
        return 0
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]  # `millrace help convert` as `millrace convert --help`
    if not words or words[0] in HELP_WORDS:
        print("\n".join(list_overview()))
        return 0
    if asks_for_completion(words):
        write_completion(words, COMMANDS)
    as_json = words[0] in COMMANDS and asks_for_json(words[1:], COMMANDS[words[0]])
    try:
        command = _parse(words)
    except MillraceError as error:
        return _report(error, as_json=as_json)
    as_json = prints_json(command)
    try:
        with _treat_sigterm_as_interrupt():
            code: int = command.run()
            return code
    except KeyboardInterrupt:
        print(command.when_stopped, file=sys.stderr)
        return STOPPED
    except Exception as error:
        if command.debug or is_unread(error):
            raise
        return _report(error, as_json=as_json)


def _parse(words: list[str]) -> Any:
    """Parse the words into a command."""
    name = words[0]
    if name not in COMMANDS:
        raise _unknown_word(name)
    check_flags(words[1:], COMMANDS[name], name=name)
    return read_command(COMMANDS[name], move_positionals_first(words[1:], COMMANDS[name]), name=name)


def _unknown_word(word: str) -> MillraceError:
    if word.startswith("-"):
        advice = Remedy("Flags follow a command: `millrace COMMAND --help` lists them")
        return RecipeError(f"{word} is not a flag of `millrace`. ", advice, got=word, known=tuple(COMMANDS))
    ours = find_command(word)
    if word == "download" or ours is not None:
        advice = Remedy(DOWNLOAD if ours is None else f"Use `millrace {ours}`")
        return RecipeError(f"{word!r} is not a command of millrace. ", advice, got=word, known=tuple(COMMANDS))
    return unknown_name(word, "command of millrace", COMMANDS)


@contextmanager
def _treat_sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(error: Exception, *, as_json: bool) -> int:
    """Print a line for each error on standard error, safe for a terminal whatever a dataset's texts hold.

    as_json: print it on standard output as JSON instead.
    """
    if as_json:
        print(error_to_json(error))
        lines = []
    elif isinstance(error, MillraceError):
        lines = error.lines
    elif isinstance(error, OSError):
        # A full disk may also keep what is printed about an error from being written.
        before = error.__context__
        lines = [*(before.lines if isinstance(before, MillraceError) else ()), str(error)]
    else:
        lines = [f"internal error, {type(error).__name__}: {error} (--debug shows where)"]
    for line in lines:
        print(show(line), file=sys.stderr)
    return error.exit_code if isinstance(error, MillraceError) else 1
