"""Choose which columns of the sources, beside state and action, the output has."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from millrace.embodiments import MillraceError, Remedy, Setting, unknown_name
from millrace.engine.dataset.language_rows import DTYPE, EVENTS, LANGUAGE
from millrace.engine.errors import RecipeError
from millrace.engine.layout import ACTION, CAMERA_PREFIX, STATE
from millrace.engine.planning.binding import BOOKKEEPING
from millrace.engine.planning.carried import SUBTASK, TEXT, TRUTH, Carried, CarriedColumn, LeftOut, Rule
from millrace.engine.planning.prepare import PreparedSource
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.tasks import task_column
from millrace.engine.sources import Feature, RowReader
from millrace.engine.sources.dataset import PICTURES
from millrace.engine.sources.lerobot_metadata import is_unicode
from millrace.engine.text import join_names

NUMBERS = frozenset(
    ["float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))],
)
# What info.json files call types otherwise, after Arrow's names or with torch's and numpy's prefix.
ALIASES = {"float": "float32", "double": "float64", "int": "int64", "boolean": TRUTH, "str": TEXT, "large_string": TEXT}
PREFIX = re.compile(r"^(torch|np|numpy)\.")
# A column as wide as this holds an embedding or a point cloud: many times what state and action take.
MAX_VALUES = 512
REWARDS = ("reward", "rewards")
ENDS = ("done", "dones", "success", "successes", "terminated", "truncated", "terminal", "terminals")
# Numbers of texts in the list of tasks, which the output numbers again.
OF_TASKS = re.compile(r"^annotation\.|task_index$")


def choose_carried(sources: Sequence[PreparedSource], recipe: Recipe, fps: Fraction) -> Carried:
    """The columns that every source has with one type, width and names, and the others with the reason.

    Args:
        sources: The recipe's; at least one.
        recipe: Says which columns it wants, and which are to be left out.
        fps: Of the output; of a source with another rate, frames are dropped.

    Raises:
        UnknownName: no source has a column of that name.
        RecipeError: a wanted column cannot be carried.
    """
    wanted, skipped = recipe.columns, recipe.without_columns
    known = dict.fromkeys(name for source in sources for name in _candidates(source))
    for name in (*(wanted or ()), *skipped):
        if name not in known:
            raise unknown_name(name, "column beside state and action", known)
    is_merged = len(sources) > 1
    found = [dict(_describe_all(one, is_resampled=one.fps != fps, is_merged=is_merged)) for one in sources]
    columns: list[CarriedColumn] = []
    left_out: list[LeftOut] = []
    for name in known:
        reasons = list(_reasons(name, sources, found, wanted=wanted, skipped=skipped))
        if not reasons:
            column = found[0][name]
            assert isinstance(column, CarriedColumn), "what is no column has a reason"
            columns.append(column)
        elif wanted is not None and name in wanted and name not in skipped:
            first = reasons[0]
            raise RecipeError(
                f"{first.source}: column {name!r} {first.reason}, and so is not in the output; ",
                Remedy("leave it out of ", Setting("columns")),
                got=name,
                known=tuple(known),
            )
        left_out += reasons
    has_subtasks = any(column.name == SUBTASK for column in columns)
    listed = [source.dataset.subtasks for source in sources if has_subtasks]
    texts = dict.fromkeys(texts[number] for texts in listed for number in sorted(texts))
    has_language = any(column.name in LANGUAGE for column in columns)
    tools = dict.fromkeys(tool for source in sources if has_language for tool in source.dataset.tools)
    return Carried(tuple(columns), tuple(left_out), tuple(texts), tuple(tools))


def _candidates(source: PreparedSource) -> Iterator[str]:
    """Columns that are no pictures, not used otherwise, and not computed for the output."""
    used = {*source.state.columns, *source.action.columns, task_column(source.spec), *BOOKKEEPING}
    for name, feature in source.dataset.features.items():
        if feature.dtype not in PICTURES and name not in used:
            yield name


def _describe_all(
    source: PreparedSource, *, is_resampled: bool, is_merged: bool
) -> Iterator[tuple[str, CarriedColumn | str]]:
    """Each candidate as a column, or why it cannot be one."""
    there = _names_in_rows(source)
    for name in _candidates(source):
        if name == SUBTASK and is_merged and not source.dataset.subtasks:
            yield name, "numbers subtasks, which no file of meta/ lists"
        elif there is not None and name not in there:
            yield name, "is in meta/info.json, but not in the rows"
        else:
            yield name, _describe(name, source.dataset.features[name], is_resampled=is_resampled)


def _names_in_rows(source: PreparedSource) -> frozenset[str] | None:
    """Columns of an episode's file; None where it is not on this machine, or cannot be read."""
    if not source.episodes or source.episodes[0].repository is not None:
        return None
    try:
        return frozenset(RowReader().read_names(source.episodes[0].rows[0]))
    except (MillraceError, OSError):  # its conversion says what is wrong with it
        return None


def _describe(name: str, feature: Feature, *, is_resampled: bool) -> CarriedColumn | str:
    if not (name.strip() and is_unicode(name)):
        return "has no name that a file can hold"
    if "/" in name:
        return "has a name with '/', at which LeRobot divides the statistics of one feature into several"
    if name in (STATE, ACTION) or name.startswith(CAMERA_PREFIX):
        return "has a name that the output gives to columns or cameras of its own"
    bare = PREFIX.sub("", feature.dtype)
    dtype = ALIASES.get(bare, bare)
    if name in LANGUAGE and dtype in (DTYPE, TEXT):
        return CarriedColumn(name, TEXT, 1, None, "all" if name == EVENTS else "kept")
    if dtype not in (*NUMBERS, TEXT, TRUTH):
        return f"is of type {feature.dtype!r}"
    if len(feature.shape) > 1:
        return f"holds lists of lists, {list(feature.shape)}"
    if not 0 < feature.num_values <= MAX_VALUES:
        return f"holds {feature.num_values} values a row, where 1 to {MAX_VALUES} are carried"
    if dtype == TEXT and feature.num_values > 1:
        return "holds lists of texts"
    if OF_TASKS.search(name) and "int" in dtype and name != SUBTASK:
        return "holds numbers of tasks, which the output numbers again"
    if name.startswith(ACTION) and is_resampled:
        return "holds actions that are no part of the robot, which cannot be resampled without knowing their kind"
    return CarriedColumn(name, dtype, feature.num_values, feature.names, _choose_rule(name, dtype))


def _choose_rule(name: str, dtype: str) -> Rule:
    own_name = re.split(r"[./]", name)[-1]
    if dtype == TRUTH:
        return "any"
    if dtype in NUMBERS and own_name in REWARDS:
        return "sum"
    return "max" if dtype in NUMBERS and own_name in ENDS else "kept"


def _reasons(
    name: str,
    sources: Sequence[PreparedSource],
    found: Sequence[Mapping[str, CarriedColumn | str]],
    *,
    wanted: Sequence[str] | None,
    skipped: Sequence[str],
) -> Iterator[LeftOut]:
    """Why a column is left out, by source; none for one that is carried."""
    addresses = [source.dataset.address for source in sources]
    having = [address for address, columns in zip(addresses, found, strict=True) if name in columns]
    if name in skipped or (wanted is not None and name not in wanted):
        yield from (LeftOut(address, name, "is not asked for") for address in having)
        return
    told = [(address, columns.get(name)) for address, columns in zip(addresses, found, strict=True)]
    if bad := {address: column for address, column in told if isinstance(column, str)}:
        others = f"cannot come from {join_names(list(bad))}"
        yield from (LeftOut(address, name, bad.get(address, others)) for address in having)
        return
    if lacking := [address for address, column in told if column is None]:
        yield from (LeftOut(address, name, f"is not in {join_names(lacking)}") for address in having)
        return
    first = told[0]
    for address, column in told[1:]:
        if column != first[1]:
            yield LeftOut(address, name, f"is {_facts(column)}, but {_facts(first[1])} in {first[0]}")


def _facts(column: CarriedColumn | str | None) -> str:
    assert isinstance(column, CarriedColumn), "only columns are compared"
    named = "" if column.names is None else f" named {join_names(column.names)}"
    return f"{column.dtype} [{column.num_values}]{named}"
