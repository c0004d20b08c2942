"""meta/stats.json of a LeRobot v3.0 dataset: its content and shapes, and its numbers against all rows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.column_store import ColumnStore
from millrace.engine.dataset.json_files import JsonObject, Unreadable, is_file, read_json
from millrace.engine.dataset.metadata import STATS
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.processes import map_in_processes
from millrace.engine.dataset.stats import QUANTILES
from millrace.engine.dataset.stored_statistics import to_array
from millrace.engine.text import join_names
from millrace.engine.validate.v3.column_summary import (
    PADDING,
    STATISTICS,
    RowSummary,
    find_differences,
    stack_summaries,
    summarize_sorted_column,
)
from millrace.engine.validate.v3.episode_statistics_v3 import StoredStatistics
from millrace.engine.validate.v3.v3_dataset import COUNTERS, V3Feature, V3Metadata, make_v3_problem
from millrace.engine.validate.v3.v3_reading import to_v3_problem

# What a number in float32 and the average of others may be off by: of the largest magnitude, and of max - min.
AVERAGE_ROUNDING, AVERAGE_SHARE = 1e-5, 1e-3
# Memory for columns in processes; each holds a column and its copy as float64.
COLUMNS_BYTES, ROW_BYTES = 4 << 30, 24

# Sound statistics by feature: by name, (D,) each.
Entries = dict[str, dict[str, NDArray[np.float64]]]


def read_dataset_statistics(metadata: V3Metadata) -> tuple[Entries, list[Problem]]:
    """Those of every feature in stats.json, and what is wrong with others."""
    if not is_file(metadata.root / STATS):
        message = "is missing; LeRobot's training stops without"
        return {}, [make_v3_problem("stats-missing", STATS, message)]
    try:
        content = read_json(metadata.root, STATS, JsonObject).root
    except Unreadable as error:
        return {}, [to_v3_problem(error.problem)]
    features = metadata.info.features
    due = {name: feature for name, feature in features.items() if feature.is_numeric or feature.is_camera}
    problems = list(_key_problems(content, features))
    entries: Entries = {}
    for name, feature in due.items():
        found = _read_entry(content.get(name), name, feature)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries[name] = found
    lacking = [name for name, entry in entries.items() if not QUANTILES.keys() <= entry.keys()]
    if lacking:
        message = f"has not all quantiles of {join_names(lacking, 8)}; policies that normalise by them stop"
        problems.append(make_v3_problem("stats-quantiles", STATS, message))
    return entries, problems


def _key_problems(content: Mapping[str, Any], features: Mapping[str, V3Feature]) -> Iterator[Problem]:
    """Keys that are no features, and statistics that are no numbers."""
    foreign = [name for name in content if name not in features]
    if foreign:
        yield make_v3_problem(
            "stats-keys",
            STATS,
            f"has {join_names(foreign, 8)}, which {'is' if len(foreign) == 1 else 'are'} no feature",
        )
    divided = [name for name in content if name in features and "/" in name]
    if divided:
        message = f"has {join_names(divided, 8)}, which LeRobot divides at '/' into several features"
        yield make_v3_problem("stats-keys", STATS, message)
    for name, entry in content.items():
        others = (
            [stat for stat, value in entry.items() if _to_numbers(value) is None] if isinstance(entry, dict) else []
        )
        if name in features and (others := [stat for stat in others if stat not in STATISTICS]):
            yield make_v3_problem("stats-keys", STATS, f"{name!r} has {join_names(others, 8)}, which is no number")


def _read_entry(content: object, name: str, feature: V3Feature) -> dict[str, NDArray[np.float64]] | Problem:
    """A feature's statistics, flat, or the first thing that is wrong with them."""
    known = content if isinstance(content, dict) else {}
    missing = [stat for stat in STATISTICS if stat not in known and stat not in QUANTILES]
    if missing:
        what = f"{name!r} lacks {', '.join(missing)}" if known else f"lacks {name!r}"
        return make_v3_problem("stats-complete", STATS, what)
    values: dict[str, NDArray[np.float64]] = {}
    for stat in (stat for stat in STATISTICS if stat in known):
        array = _to_numbers(known[stat])
        shapes = _shapes(feature, stat)
        if array is None or array.shape not in shapes:
            found = "no numbers" if array is None else f"shape {list(array.shape)}"
            return make_v3_problem("stats-shape", STATS, f"{stat} of {name!r} has {found}, expected {list(shapes[0])}")
        if not np.isfinite(array).all():
            return make_v3_problem("json-finite", STATS, f"{stat} of {name!r} holds a number too large for a float")
        values[stat] = array.astype(np.float64).ravel()
    disorder = _disorder(values)
    return make_v3_problem("stats-order", STATS, f"{name!r} has {disorder}") if disorder else values


def _to_numbers(value: object) -> NDArray[np.float64] | None:
    """Nested lists of numbers or truth values as an array; None for anything else."""
    try:
        array = np.array(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.float64) if array.dtype == np.bool_ else to_array(value)


def _shapes(feature: V3Feature, stat: str) -> Sequence[tuple[int, ...]]:
    """Shapes that LeRobot reads, the usual one first; a count of one number may stand alone."""
    if stat == "count":
        return ((1,), ())
    if feature.is_camera:
        return ((3, 1, 1), (1, 1, 1), (3,), (1,))
    if not feature.is_vector:
        return ((feature.shape[-1],), feature.shape, (feature.width,))
    return ((feature.width,), ()) if feature.width == 1 else ((feature.width,),)


def _disorder(values: Mapping[str, NDArray[np.float64]]) -> str | None:
    """Numbers that contradict each other, up to rounding; a mean in float32 may lie a little outside."""
    magnitude = np.maximum(np.abs(values["min"]), np.abs(values["max"]))
    slack = 1e-5 * magnitude + 1e-3 * np.abs(values["max"] - values["min"]) + PADDING
    rising = ["min", *(stat for stat in QUANTILES if stat in values), "max"]
    for one, other in pairwise(rising):
        if (values[one] > values[other] + slack).any():
            return f"{one} above {other}"
    if (values["std"] < 0).any():
        return "a negative std"
    if values["count"][0] < 1:
        return "no count"
    drift = slack + 0.1 * magnitude
    outside = (values["mean"] < values["min"] - drift) | (values["mean"] > values["max"] + drift)
    return "a mean that is not between min and max" if outside.any() else None


def statistics_value_problems(
    metadata: V3Metadata, entries: Entries, store: ColumnStore, stored: StoredStatistics, *, num_processes: int
) -> Iterator[Problem]:
    """Compare stats.json with all rows.

    Args:
        metadata: Of the dataset.
        entries: Of stats.json.
        store: The rows of all features that policies normalise.
        stored: Statistics of episodes, all of which were read.
        num_processes: Processes that sort columns, at most.
    """
    names = [name for name in entries if metadata.info.features[name].is_vector and name not in COUNTERS]
    num_added = int(metadata.table.lengths.max())
    columns = [(name, number) for name in names for number in range(store.width(name))]
    fitting = max(1, COLUMNS_BYTES // (ROW_BYTES * max(store.num_rows, 1))) if store.is_shared else 1
    summarize = partial(_summarize_column, store, num_added)
    found = map_in_processes(summarize, columns, num_processes=min(num_processes, fitting))
    averaged: dict[str, float] = {}
    for name in names:
        exact = stack_summaries([next(found) for _ in range(store.width(name))])
        for difference in find_differences(entries[name], exact):
            if difference.stat in QUANTILES and _is_average(entries[name], name, difference.stat, exact, stored):
                averaged[name] = max(averaged.get(name, 0.0), _share(entries[name], difference.stat, exact))
                continue
            yield make_v3_problem(
                "stats-values", STATS, f"{difference.stat} of {name!r}: {difference}: stale or damaged"
            )
            break
    if averaged:
        worst = max(averaged, key=lambda name: averaged[name])
        message = (
            f"quantiles of {join_names(list(averaged), 8)} are averages of those of the episodes, as LeRobot writes "
            f"them; of all values those of {worst!r} lie up to {averaged[worst]:.0%} of its range elsewhere"
        )
        yield make_v3_problem("stats-averaged", STATS, message)


def _summarize_column(store: ColumnStore, num_added: int, column: tuple[str, int]) -> RowSummary:
    values = store.column(*column)
    values.sort()
    return summarize_sorted_column(values, num_added)


def _is_average(
    entry: Mapping[str, NDArray[np.float64]], name: str, stat: str, exact: RowSummary, stored: StoredStatistics
) -> bool:
    average = stored.average(name, stat)
    if average is None or average.shape != entry[stat].shape:
        return False
    magnitude = np.maximum(np.abs(exact.low), np.abs(exact.high))
    slack = AVERAGE_ROUNDING * magnitude + AVERAGE_SHARE * (exact.high - exact.low)
    return bool((np.abs(entry[stat] - average) <= slack).all())


def _share(entry: Mapping[str, NDArray[np.float64]], stat: str, exact: RowSummary) -> float:
    """By which share of max - min a quantile is off, at most."""
    below = exact.below[list(QUANTILES).index(stat)]
    spread = np.maximum(exact.high - exact.low, np.finfo(np.float64).tiny)
    return float((np.abs(entry[stat] - below) / spread).max())


def counter_problems(entries: Entries, counters: Mapping[str, tuple[float, float, float, int]]) -> Iterator[Problem]:
    """Compare stats.json's entries of columns that count; counters: min, max, sum and number of each."""
    for name, (low, high, total, num_rows) in counters.items():
        right = {"min": low, "max": high, "mean": total / num_rows, "count": num_rows}
        slack = 1e-3 * max(abs(low), abs(high), 1e-9)
        for stat, due in right.items():
            if name in entries and abs(entries[name][stat][0] - due) > slack:
                message = f"{stat} of {name!r} is {entries[name][stat][0]:g}, but the rows give {due:g}"
                yield make_v3_problem("stats-counters", STATS, message)
                break
