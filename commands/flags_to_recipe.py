"""The recipe that the flags of `millrace convert` describe."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from millrace.commands.convert_flags import ConvertFlags, CutFlags, FilterFlags, RecipeFlags
from millrace.commands.filter_flags import read_filter
from millrace.commands.flags import name_flag
from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError
from millrace.engine.planning.recipe import NONE, Recipe, is_share
from millrace.engine.planning.recipe_file import read_recipe

# Flags that are read here before a recipe takes them.
CAMERAS, COLUMNS = ("camera", "cameras"), ("columns", "without_columns")
FILTER = tuple(one.name for one in fields(FilterFlags))
READ_HERE = (*CAMERAS, *COLUMNS, *(one.name for one in fields(CutFlags)), *FILTER)
# Flags that count beside a recipe's file, too.
BESIDE_FILE = ("holdout", "device", "cache_gb")


def make_recipe(flags: ConvertFlags, source: Path) -> Recipe:
    """The recipe for one source.

    Raises:
        RecipeError: a flag contradicts another, or its value means nothing.
    """
    if flags.task_all and flags.task is None:
        advice = Remedy('add --task "WHAT IT DOES"')
        raise RecipeError("--task-all puts the text of --task in place of every task: ", advice)
    names = [one.name for one in fields(RecipeFlags) if one.name not in READ_HERE]
    read_here = {**_camera_settings(flags), **_column_settings(flags), **_cut_settings(flags)}
    read_here |= read_filter({name: getattr(flags, name) for name in FILTER})
    return Recipe.single(source, **_given(flags, (*names, *BESIDE_FILE)), **read_here)


def read_recipe_with_flags(flags: ConvertFlags, path: Path) -> Recipe:
    """The recipe of a file, with --holdout, --device and --cache-gb of the command line.

    Raises:
        RecipeError: a flag is for what the file says, or the file is wrong.
    """
    # None, () or False; a 0 or an empty text is given.
    given = [one.name for one in fields(RecipeFlags) if getattr(flags, one.name) is not one.default]
    if given:
        advice = Remedy(f"with --recipe, say it in {path}")
        raise RecipeError(f"{', '.join(map(name_flag, given))}: ", advice, got=given)
    if flags.holdout is not None and not is_share(flags.holdout):
        advice = Remedy(f"list episodes under `holdout:` of a source in {path}")
        raise RecipeError(f"--holdout {flags.holdout}: ", advice, got=flags.holdout)
    return read_recipe(path, **_given(flags, BESIDE_FILE))


def _given(flags: ConvertFlags, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(flags, name)) is not None}


def _camera_settings(flags: ConvertFlags) -> dict[str, Any]:
    """The settings for cameras that the flags give."""
    found: dict[str, Any] = {"cameras": dict(_assignment(text) for text in flags.camera if not _skipped_camera(text))}
    if flags.cameras is not None:
        found["only_cameras"] = _names("cameras", flags.cameras, "ego_view,wrist")
    skipped = tuple(name for text in flags.camera if (name := _skipped_camera(text)))
    return {**found, "without_cameras": skipped} if skipped else found


def _column_settings(flags: ConvertFlags) -> dict[str, Any]:
    """The settings for columns beside state and action that the flags give."""
    example = "next.reward,next.done"
    return {name: () if text == NONE else _names(name, text, example) for name, text in _given(flags, COLUMNS).items()}


def _cut_settings(flags: ConvertFlags) -> dict[str, Any]:
    """The settings for still stretches that the flags give."""
    if flags.idle_keep is not None and not flags.trim_idle and flags.drop_pauses is None:
        raise RecipeError("--idle-keep says how much stays: ", Remedy("add --trim-idle or --drop-pauses SECONDS"))
    keep = {} if flags.idle_keep is None else {"keep": flags.idle_keep}
    found: dict[str, Any] = {"trim_idle": keep} if flags.trim_idle else {}
    if flags.drop_pauses is not None:
        found["drop_pauses"] = {"longer_than": flags.drop_pauses, **keep}
    return {**found, "still": dict(map(_width, flags.still))} if flags.still else found


def _width(text: str) -> tuple[str, float]:
    group, _, width = text.partition("=")
    try:
        return group, float(width)
    except ValueError:
        message = f"--still takes GROUP=WIDTH, for example left_arm=0.02, not {text!r}"
        raise RecipeError(message, got=text, expected="GROUP=WIDTH") from None


def _names(setting: str, text: str, example: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        message = f"{name_flag(setting)} takes names such as {example}, not {text!r}"
        raise RecipeError(message, got=text, expected="NAME,NAME")
    return names


def _skipped_camera(text: str) -> str | None:
    """The camera that -NAME skips; NAME= does the same, for shells and parsers that take -NAME for a flag."""
    return text[1:] if text.startswith("-") else text[:-1] if text.endswith("=") else None


def _assignment(text: str) -> tuple[str, str]:
    target, separator, source = text.partition("=")
    if not (target and separator and source):
        message = f"--camera takes TARGET=SOURCE, for example ego_view=cam_high, or -NAME, not {text!r}"
        raise RecipeError(message, got=text, expected="TARGET=SOURCE or -NAME")
    return target, source
