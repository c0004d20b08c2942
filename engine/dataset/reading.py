"""Read the metadata of a dataset to validate, as far as it can be read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.json_files import (
    Unreadable,
    blank_line_problems,
    is_file,
    read_json,
    read_jsonl,
    why_no_file,
    why_no_folder,
)
from millrace.engine.dataset.metadata import (
    EPISODES,
    INFO,
    MODALITY,
    TASKS,
    GrootEpisodeLine,
    GrootTaskLine,
    InfoFile,
    Metadata,
    ModalityFile,
)
from millrace.engine.dataset.modality_config import GrootConfig, read_config
from millrace.engine.dataset.problems import Problem
from millrace.engine.layout import MODALITY_CONFIG
from millrace.engine.sources import v1, v3

CONVERT = "millrace convert {} OUT --layout v2.1"
REQUIRED = (INFO, EPISODES, TASKS, MODALITY)

Value = TypeVar("Value")


def read_metadata(root: Path, config: GrootConfig | None = None) -> tuple[Metadata | None, list[Problem]]:
    """Everything in meta/ but statistics. None where not even info.json and episodes.jsonl can be used.

    Args:
        root: The dataset's folder.
        config: The modality config that counts; None for the dataset's own.
    """
    problems = _missing(root)

    def attempt(name: str, read: Callable[[], Value]) -> Value | None:
        if not is_file(root / name):
            return None
        try:
            return read()
        except Unreadable as error:
            problems.append(error.problem)
            return None

    info = attempt(INFO, lambda: read_json(root, INFO, InfoFile))
    tasks = attempt(TASKS, lambda: _read_tasks(root, problems.append))
    episodes = attempt(EPISODES, lambda: _read_episodes(root, tasks, problems.append))
    modality = attempt(MODALITY, lambda: read_json(root, MODALITY, ModalityFile))
    config = config or attempt(MODALITY_CONFIG, lambda: read_config(root))
    problems += [found for name in (EPISODES, TASKS) for found in blank_line_problems(root, name)]
    if info is None or episodes is None:
        return None, problems
    indices, lengths, listed = episodes
    return Metadata(root, info, indices, lengths, tasks, modality, config, listed), problems


def _missing(root: Path) -> list[Problem]:
    layout = _source_layout(root)
    if layout is not None:
        message = f"{root} is a LeRobot {layout} dataset, which GR00T does not read: {CONVERT.format(root)}"
        return [Problem.of("meta-missing", "meta", message)]
    if reason := why_no_folder(root / "meta"):
        message = f"{reason}: no GR00T dataset, or a conversion that has not finished (run it again)"
        return [Problem.of("meta-missing", "meta", message)]
    hint = {
        MODALITY: ", which tells GR00T what the values are; `millrace convert` makes a GR00T dataset",
    }
    reasons = {name: why_no_file(root, name) for name in REQUIRED}
    return [Problem.of("meta-missing", name, f"{why}{hint.get(name, '')}") for name, why in reasons.items() if why]


def _source_layout(root: Path) -> str | None:
    """The version of a source whose layout alone keeps GR00T from reading it."""
    if is_file(root / EPISODES):
        return None
    layouts = {"v3": v3, "v1": v1}
    try:
        return next((name for name, layout in layouts.items() if layout.fits(root)), None)
    except OSError:  # the files themselves are reported
        return None


def _read_tasks(root: Path, report: Callable[[Problem], None]) -> dict[int, str]:
    tasks: dict[int, str] = {}
    for line in read_jsonl(root, TASKS, GrootTaskLine):
        if line.task_index in tasks:
            report(Problem.of("index-unique", TASKS, f"lists task_index {line.task_index} twice"))
        tasks.setdefault(line.task_index, line.task)
    return tasks


def _read_episodes(
    root: Path, tasks: Mapping[int, str] | None, report: Callable[[Problem], None]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[tuple[str, ...], ...]]:
    """Numbers, lengths and tasks of the episodes; all that have the same tasks share one tuple of them."""
    known = None if tasks is None else set(tasks.values())
    lengths: dict[int, int] = {}
    listed: dict[int, tuple[str, ...]] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in read_jsonl(root, EPISODES, GrootEpisodeLine):
        if line.episode_index in lengths:
            report(Problem.of("index-unique", EPISODES, f"lists episode_index {line.episode_index} twice"))
        lengths.setdefault(line.episode_index, line.length)
        listed.setdefault(line.episode_index, shared.setdefault(line.tasks, line.tasks))
        unknown = [task for task in line.tasks if known is not None and task not in known]
        if unknown:
            message = f"episode {line.episode_index} has the task {unknown[0]!r}, which {TASKS} lacks"
            report(Problem.of("episode-tasks", EPISODES, message))
        if not line.tasks:
            report(Problem.of("episode-tasks", EPISODES, f"episode {line.episode_index} lists no task"))
    if not lengths:
        raise Unreadable(Problem.of("meta-parse", EPISODES, "lists no episode"))
    indices = np.array(list(lengths), dtype=np.int64)
    return indices, np.array(list(lengths.values()), dtype=np.int64), tuple(listed.values())
