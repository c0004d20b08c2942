"""Read the metadata of a LeRobot v3.0 dataset: info.json, tasks.parquet and the places of meta/episodes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.embodiments import FrozenModel
from millrace.engine.dataset.json_files import Unreadable, is_file, read_json, why_no_file, why_no_folder
from millrace.engine.dataset.metadata import EPISODES, INFO
from millrace.engine.dataset.problems import DatasetLayout, Problem
from millrace.engine.errors import DatasetError
from millrace.engine.layout import EPISODES_FOLDER
from millrace.engine.sources import why_foreign
from millrace.engine.sources.checked_parquet import DAMAGE, CheckedParquet
from millrace.engine.sources.lerobot_metadata import MAX_CAMERAS
from millrace.engine.sources.task_list import read_task_table
from millrace.engine.sources.templates import template_problem
from millrace.engine.validate.v3.episode_table import list_episode_files, read_episode_table
from millrace.engine.validate.v3.v3_dataset import (
    TASKS_TABLE,
    V3Info,
    V3Metadata,
    make_v3_problem,
)

VERSION = "v3.0"
FILE_FIELDS = {"chunk_index", "file_index"}


class _Version(FrozenModel):
    """Only what tells the layout."""

    codebase_version: object = None


def find_layout(root: Path) -> DatasetLayout:
    """The layout to judge a folder as: by its files, or where these do not tell by the version in info.json."""
    has_lines, has_tables = is_file(root / EPISODES), why_no_folder(root / EPISODES_FOLDER) is None
    if has_lines != has_tables:
        return "v2.1" if has_lines else "v3.0"
    return "v3.0" if _says_v3(root) else "v2.1"


def _says_v3(root: Path) -> bool:
    try:
        return str(read_json(root, INFO, _Version).codebase_version).startswith("v3")
    except Unreadable:
        return False


def read_v3_metadata(root: Path) -> tuple[V3Metadata | None, list[Problem]]:
    """Everything in meta/ but statistics. None where files cannot be found by it, and what is wrong."""
    problems = _missing(root)
    try:
        info = _read_info(root)
        table = read_episode_table(root, info, problems) if list_episode_files(root) else None
    except Unreadable as error:
        return None, [*problems, to_v3_problem(error.problem)]
    try:
        tasks = _read_tasks(root, problems) if is_file(root / TASKS_TABLE) else None
    except Unreadable as error:
        problems.append(error.problem)
        tasks = None
    return (None if table is None else V3Metadata(root, info, table, tasks)), problems


def to_v3_problem(problem: Problem) -> Problem:
    """A problem of what both layouts share, with the remedy for v3.0."""
    return make_v3_problem(problem.code, problem.path, problem.message, episode=problem.episode, camera=problem.camera)


def _missing(root: Path) -> list[Problem]:
    reasons: dict[str, str | None] = {name: why_no_file(root, name) for name in (INFO, TASKS_TABLE)}
    reasons[EPISODES_FOLDER] = why_no_folder(root / EPISODES_FOLDER)
    if reasons[EPISODES_FOLDER] is None and not list_episode_files(root):
        reasons[EPISODES_FOLDER] = "holds no CHUNK/FILE.parquet"
    return [make_v3_problem("meta-missing", name, reason) for name, reason in reasons.items() if reason]


def _read_info(root: Path) -> V3Info:
    if not is_file(root / INFO):
        raise Unreadable(make_v3_problem("meta-missing", INFO, "is missing, so nothing else can be judged"))
    info = read_json(root, INFO, V3Info)
    if len(info.video_keys) > MAX_CAMERAS:
        message = f"features: {len(info.video_keys)} cameras, expected at most {MAX_CAMERAS}"
        raise Unreadable(make_v3_problem("meta-parse", INFO, message))
    for name, reason in _template_reasons(info).items():
        if reason is not None:
            raise Unreadable(make_v3_problem("path-template", INFO, f"{name} {getattr(info, name)!r} {reason}"))
    return info


def _template_reasons(info: V3Info) -> dict[str, str | None]:
    """Why files cannot be found by a template, by its name."""
    reason = template_problem(info.data_path, FILE_FIELDS, FILE_FIELDS)
    if reason is None and not _is_where_lerobot_looks(info.data_path.format(chunk_index=0, file_index=0)):
        reason = "must fill in to data/FOLDER/FILE.parquet: LeRobot looks nowhere else"
    reasons = {"data_path": reason}
    if not info.video_keys:
        return reasons
    if info.video_path is None:
        return {**reasons, "video_path": "is missing"}
    needed = FILE_FIELDS | ({"video_key"} if len(info.video_keys) > 1 else set())
    reason = template_problem(info.video_path, {*FILE_FIELDS, "video_key"}, needed)
    paths = (
        []
        if reason
        else [info.video_path.format(video_key=key, chunk_index=0, file_index=0) for key in info.video_keys]
    )
    if any(_leads_elsewhere(Path(path)) for path in paths):
        reason = "leads out of the dataset"
    return {**reasons, "video_path": reason}


def _is_where_lerobot_looks(path: str) -> bool:
    parts = Path(path).parts
    return len(parts) == 3 and parts[0] == "data" and parts[1] != ".." and path.endswith(".parquet")


def _leads_elsewhere(path: Path) -> bool:
    return path.is_absolute() or ".." in path.parts


def _read_tasks(root: Path, problems: list[Problem]) -> Mapping[int, str]:
    """Texts by index."""
    path = root / TASKS_TABLE
    if refusal := why_foreign(path, root):
        raise Unreadable(make_v3_problem("meta-parse", TASKS_TABLE, str(refusal)))
    try:
        found = read_task_table(path)
        index = _read_pandas_index(path)
    except (DatasetError, *DAMAGE) as error:
        message = str(error).removeprefix(f"{path} ")
        raise Unreadable(make_v3_problem("meta-parse", TASKS_TABLE, message)) from error
    told = [text.replace(f"{path}, ", "") for text in found.problems]
    problems += [make_v3_problem("task-numbers", TASKS_TABLE, text) for text in told]
    if not told and list(found.texts) != list(range(len(found.texts))):
        message = "its rows are not the tasks 0, 1, 2, ... in order; LeRobot takes task i from row i"
        problems.append(make_v3_problem("task-numbers", TASKS_TABLE, message))
    if not index:
        message = "its texts are no index of pandas, by which LeRobot finds them"
        problems.append(make_v3_problem("task-numbers", TASKS_TABLE, message))
    return found.texts


def _read_pandas_index(path: Path) -> list[Any]:
    """The columns that pandas takes as the index."""
    with CheckedParquet(path) as file:
        text = file.key_values.get(b"pandas", b"{}")
    try:
        described = json.loads(text)
    except (ValueError, RecursionError):
        return []
    columns = described.get("index_columns") if isinstance(described, dict) else None
    return [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []
