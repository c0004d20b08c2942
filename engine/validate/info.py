"""info.json, episodes.jsonl and tasks.jsonl against each other."""

import re
from collections.abc import Iterator
from pathlib import Path

from millrace.engine.dataset.metadata import EPISODES, INFO, TASKS, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.sources.templates import template_problem
from millrace.engine.text import join_names

READABLE_VERSIONS = ("v2.0", "v2.1")
EPISODE_FIELDS = {"episode_chunk", "episode_index"}
# What LeRobot gives every dataset, and reads.
LEROBOT_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
# Labels that datasets list as tasks, NVIDIA's GR1 demo among them.
PLACEHOLDERS = frozenset(
    ["valid", "invalid", "success", "failure", "none", "null", "na", "task", "default", "unknown", "test", "todo"]
)


def info_problems(metadata: Metadata) -> Iterator[Problem]:
    """Totals, numbering, version, cameras and tasks."""
    yield from _total_problems(metadata)
    info, modality = metadata.info, metadata.modality
    if not metadata.is_numbered:
        message = f"lists {metadata.num_episodes} episodes, but not as 0 to {metadata.num_episodes - 1} in order"
        yield Problem.of("episode-numbers", EPISODES, message)
    if info.codebase_version not in READABLE_VERSIONS:
        message = f"codebase_version is {info.codebase_version!r}, expected one of {', '.join(READABLE_VERSIONS)}"
        yield Problem.of("codebase-version", INFO, message)
    lacking = [name for name in LEROBOT_COLUMNS if name not in info.features]
    if lacking:
        yield Problem.of(
            "lerobot-columns", INFO, f"features lack {join_names(lacking)}, which LeRobot reads; GR00T does not"
        )
    unseen = [name for name, feature in info.features.items() if feature.is_video and name not in metadata.cameras]
    if modality is not None and unseen:
        message = (
            f"modality.json does not name {join_names(unseen)}: GR00T does not see it, and its videos are not judged"
        )
        yield Problem.of("camera-unnamed", INFO, message)
    yield from _task_problems(metadata)


def _total_problems(metadata: Metadata) -> Iterator[Problem]:
    info = metadata.info
    num_tasks = None if metadata.tasks is None else len(metadata.tasks)
    totals = {
        "total_episodes": (info.total_episodes, metadata.num_episodes, EPISODES),
        "total_frames": (info.total_frames, metadata.num_frames, EPISODES),
        "total_tasks": (info.total_tasks, num_tasks, TASKS),
    }
    for name, (said, found, where) in totals.items():
        if said is not None and found is not None and said != found:
            yield Problem.of("info-totals", INFO, f"{name} is {said}, but {where} has {found}")
    num_cameras = sum(feature.is_video for feature in info.features.values())
    num_chunks = int(metadata.indices.max()) // info.chunks_size + 1
    file_totals = {
        "total_videos": (info.total_videos, num_cameras * metadata.num_episodes),
        "total_chunks": (info.total_chunks, num_chunks),
    }
    for name, (said, found) in file_totals.items():
        if said is not None and said != found:
            yield Problem.of("info-file-totals", INFO, f"{name} is {said}, but there are {found}")


def is_placeholder(task: str) -> bool:
    """Whether a task is only a label, such as 'valid'."""
    return _normalize_task(task) in PLACEHOLDERS


def _normalize_task(task: str) -> str:
    """What the model hears: source gr00t/model/gr00t_n1d6/processing_gr00t_n1d6.py, formalize_language."""
    return re.sub(r"[^\w\s]", "", task.lower()).strip()


def _task_problems(metadata: Metadata) -> Iterator[Problem]:
    for index, task in (metadata.tasks or {}).items():
        if not _normalize_task(task):
            yield Problem.of(
                "task-text", TASKS, f"task {index} is {task!r}, which says nothing without its punctuation"
            )
        elif is_placeholder(task):
            yield Problem.of(
                "task-placeholder", TASKS, f"task {index} is {task!r}, no instruction; the policy may hear it"
            )


def template_problems(metadata: Metadata) -> Iterator[Problem]:
    """data_path and video_path; where there is one, nor rows or videos can be found."""
    info = metadata.info
    reason = template_problem(info.data_path, EPISODE_FIELDS, {"episode_index"})
    if reason is None and any(_is_elsewhere(metadata.data_path(int(index))) for index in metadata.indices[[0, -1]]):
        reason = "must fill in to data/FOLDER/FILE.parquet: GR00T's statistics look nowhere else"
    if reason is not None:
        yield Problem.of("path-template", INFO, f"data_path {info.data_path!r} {reason}")
    if not metadata.cameras:
        return
    if info.video_path is None:
        yield Problem.of(
            "path-template", INFO, "video_path is missing: GR00T would train without videos and report no error"
        )
        return
    needed = {"episode_index"} | ({"video_key"} if len(metadata.cameras) > 1 else set())
    reason = template_problem(info.video_path, {*EPISODE_FIELDS, "video_key"}, needed)
    if reason is None and any(_leads_out(metadata.video_path(0, camera)) for camera in metadata.cameras):
        reason = "leads out of the dataset"
    if reason is not None:
        yield Problem.of("path-template", INFO, f"video_path {info.video_path!r} {reason}")


def _is_elsewhere(path: Path) -> bool:
    is_listed = len(path.parts) == 3 and path.parts[0] == "data" and path.suffix == ".parquet"
    return _leads_out(path) or not is_listed


def _leads_out(path: Path) -> bool:
    return path.is_absolute() or ".." in path.parts
