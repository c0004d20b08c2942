"""The flags of `millrace convert` that leave episodes out, as the setting `filter`."""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.commands.flags import name_flag
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

PLAIN = ("min_length", "max_length", "max_idle")
AMOUNTS = ("min_motion", "max_jerk")
TASKS = {"tasks": "include", "without_tasks": "exclude"}


def read_filter(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The setting of the flags that are given, or nothing; flags: the values of all of `FilterFlags`.

    Raises:
        RecipeError: an amount is given in no form that a flag takes.
    """
    found = {name: flags[name] for name in PLAIN if flags[name] is not None}
    found |= {name: _amounts(name, flags[name]) for name in AMOUNTS if flags[name]}
    tasks = {key: flags[name] for name, key in TASKS.items() if flags[name]}
    found |= {"tasks": tasks} if tasks else {}
    return {"filter": found} if found else {}


def _amounts(name: str, texts: Sequence[str]) -> str | dict[str, str]:
    """One amount for all joint groups, or one for each that is named."""
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    pairs = [text.partition("=") for text in texts]
    if not all(group and amount for group, _, amount in pairs):
        advice = Remedy("for example 0.1, or left_arm=0.1 right_arm=0.2")
        raise RecipeError(f"{name_flag(name)} takes AMOUNT or GROUP=AMOUNT, ", advice, f", not {' '.join(texts)!r}")
    return {group: amount for group, _, amount in pairs}
