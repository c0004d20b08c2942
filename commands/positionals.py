"""Reorder a command line's words so that every version of tyro understands them, and read the values of switches."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import get_args, get_origin, get_type_hints

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction

from millrace.commands.bare_flags import find_bare_flags
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

SEVERAL = 2
OPTIONAL = bool | None
CAMERA_FLAGS = ("camera",)  # flags whose values are NAME=VALUE or -NAME: any other word but the first is a positional
# What NVIDIA's guides write behind a switch, in any case.
TRUTH = {"true": True, "false": False}
# What others may mean so, though it could name a folder.
UNCLEAR = ("0", "1", "no", "off", "on", "yes")


def move_positionals_first(words: Sequence[str], command: type) -> list[str]:
    """Move the words that are neither flags nor values of flags before the flags, and switches behind them.

    tyro before 1.0, which GR00T pins, takes OUT, which is optional, only directly after SOURCE:

        SOURCE --fps 10 OUT       ->  SOURCE OUT --fps 10

    No version takes a value for a switch, but the word for a dataset; of a switch that is given twice the last counts:

        DATASET --tune-llm False  ->  DATASET --no-tune-llm

    Raises:
        RecipeError: a switch has another value than True or False.
    """
    counts, spellings, bare = _value_counts(command), dict(_spellings(command)), find_bare_flags(command)
    left = deque(words)
    first: list[str] = []
    flags: list[str] = []
    switches: dict[str, bool] = {}
    num_values, flag = 0, ""  # what the last flag still takes
    valued: dict[str, str] = {}  # switches by the word behind them
    while left and left[0] != "--":  # no flag comes after that
        word = left.popleft()
        is_camera = flag in CAMERA_FLAGS
        if num_values != 1 and word.startswith("--"):
            flag, _, value = word.removeprefix("--").replace("_", "-").partition("=")
            num_values = 0 if value else counts.get(flag, 1)
            if flag in spellings:
                name, is_on = spellings[flag]
                switches[name] = _read_switch(word, left, is_on=is_on, command=command)
            elif flag in bare and not value and not bare[flag].takes(left[0] if left else None):
                flags.append(f"{word}={bare[flag].default}")
                num_values = 0
            else:
                flags.append(word)
        elif num_values and is_camera and word.startswith("-") and len(word) > 1:
            flags.append(f"{word[1:]}=")  # a parser would take -NAME for a flag; see commands/convert.py
        elif num_values == 1 and word.startswith("-"):
            flags[-1] += f"={word}"  # a parser would take the value for a flag
            num_values = 0
        elif num_values and not (is_camera and "=" not in word and flags[-1] != f"--{flag}"):
            num_values = SEVERAL if num_values == SEVERAL else 0
            flags.append(word)
        else:
            if flag in spellings and not num_values:
                valued[word] = flag
            flag, num_values = "", 0
            first.append(word)
    _check_values_of_switches(first, valued, flags, command)
    return [*first, *flags, *_write_switches(switches, command), *left]


def _check_values_of_switches(
    first: Sequence[str], valued: Mapping[str, str], flags: Sequence[str], command: type
) -> None:
    """Check that a word behind a switch is a positional argument, not meant as the switch's value.

    Raises:
        RecipeError: there are more positional arguments than the command takes.
    """
    kinds = get_type_hints(command, include_extras=True)
    places = [kind for kind in kinds.values() if Positional in get_args(kind)]
    most = len(places) - ("--recipe" in flags)  # in place of a source
    if valued and len(first) > most and not any(get_origin(get_args(kind)[0]) is tuple for kind in places):
        word, switch = next(iter(valued.items()))
        advice = f"--task {word!r} --task-all" if switch == "task-all" else f"--{switch} alone"
        raise RecipeError(f"--{switch} takes no value, such as {word!r}: ", Remedy(f"write {advice}"), got=word)


def _read_switch(word: str, left: "deque[str]", *, is_on: bool, command: type) -> bool:
    """Whether a switch is on: as its word says, or the value with it, or the one behind it, which is taken away."""
    written, has_value, value = word.partition("=")
    if not has_value:
        if not left or left[0].lower() not in (*TRUTH, *UNCLEAR):
            return is_on
        value = left.popleft()
    if is_on and value.lower() in TRUTH:
        return TRUTH[value.lower()]
    name = written.removeprefix("--").replace("_", "-")
    name = name if is_on else name.removeprefix("no-")
    off = f"--no-{name}" if name in _paired(command) else "leave it out"
    folder = "" if has_value else f"; a folder of that name is ./{value}"
    raise RecipeError(f"{written} takes no value, such as {value!r}: write --{name}, or {off}{folder}")


def _write_switches(switches: Mapping[str, bool], command: type) -> Iterator[str]:
    paired, optional = _paired(command), _optional(command)
    for name, is_on in switches.items():
        if name in optional:
            yield from (f"--{name}", str(is_on))
        elif is_on or name in paired:
            yield f"--{name}" if is_on else f"--no-{name}"


def _spellings(command: type) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Every spelling of a switch, with its name and whether that turns it on."""
    for name, kind in get_type_hints(command).items():
        if kind in (bool, OPTIONAL):
            flag = name.replace("_", "-")
            yield flag, (flag, True)
            yield f"no-{flag}", (flag, False)


def _paired(command: type) -> set[str]:
    """The switches that have a flag which turns them off; the others are off unless named."""
    marked = get_type_hints(command, include_extras=True)
    switches = {name for name, kind in get_type_hints(command).items() if kind in (bool, OPTIONAL)}
    return {name.replace("_", "-") for name in switches if FlagCreatePairsOff not in get_args(marked[name])}


def _optional(command: type) -> set[str]:
    """The switches that are neither on nor off unless named; for a parser they are flags with a value."""
    return {name.replace("_", "-") for name, kind in get_type_hints(command).items() if kind == OPTIONAL}


def _value_counts(command: type) -> dict[str, int]:
    """How many words each flag takes: 0, 1 or SEVERAL; one that is not here takes 1."""
    counts = {"help": 0}
    kinds, marked = get_type_hints(command), get_type_hints(command, include_extras=True)
    for field in fields(command):
        name, kind = field.name.replace("_", "-"), kinds[field.name]
        is_many = any(get_origin(part) in (tuple, dict) for part in (kind, *get_args(kind)))
        if kind in (bool, OPTIONAL):
            counts |= {name: 0, f"no-{name}": 0}
        elif is_many and UseAppendAction not in get_args(marked[field.name]):
            counts[name] = SEVERAL
    return counts
