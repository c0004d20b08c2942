"""info.json, tasks.parquet and meta/episodes of a LeRobot v3.0 dataset against each other."""

from collections.abc import Iterator

import numpy as np

from millrace.engine.dataset.metadata import INFO
from millrace.engine.dataset.problems import Problem
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.text import join_names
from millrace.engine.validate.v3.v3_dataset import (
    COUNTERS,
    TASKS_TABLE,
    V3Metadata,
    make_v3_problem,
)
from millrace.engine.validate.v3.v3_reading import VERSION


def v3_info_problems(metadata: V3Metadata) -> Iterator[Problem]:
    """Version, totals, numbering, columns and tasks."""
    info, table = metadata.info, metadata.table
    if info.codebase_version != VERSION:
        yield make_v3_problem(
            "codebase-version", INFO, f"codebase_version is {info.codebase_version!r}, not {VERSION!r}"
        )
    yield from _total_problems(metadata)
    lacking = [name for name in COUNTERS if name not in info.features]
    if lacking:
        yield make_v3_problem("lerobot-columns", INFO, f"features lack {join_names(lacking)}, which LeRobot reads")
    wrong = np.flatnonzero(table.numbers != np.arange(table.num_episodes))
    if len(wrong):
        row = int(wrong[0])
        message = (
            f"row {row} is episode {table.numbers[row]}, and {len(wrong) - 1} more are not the episode of their row"
        )
        yield make_v3_problem("episode-numbers", EPISODES_FOLDER, message, episode=int(table.numbers[row]))
    for index, text in (metadata.tasks or {}).items():
        if not text.strip():
            yield make_v3_problem("task-text", TASKS_TABLE, f"task {index} is {text!r}, which says nothing")


def _total_problems(metadata: V3Metadata) -> Iterator[Problem]:
    info, table = metadata.info, metadata.table
    totals = {
        "total_episodes": (info.total_episodes, table.num_episodes, EPISODES_FOLDER),
        "total_frames": (info.total_frames, table.num_frames, EPISODES_FOLDER),
        "total_tasks": (info.total_tasks, None if metadata.tasks is None else len(metadata.tasks), TASKS_TABLE),
    }
    for name, (said, found, where) in totals.items():
        if found is not None and said != found:
            told = "is missing" if said is None else f"is {said}"
            yield make_v3_problem("info-totals", INFO, f"{name} {told}, but {where} has {found}")
