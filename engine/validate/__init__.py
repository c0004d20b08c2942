"""The promises of a finished dataset, each a named check; see CHECKS, and V3_CHECKS for LeRobot v3.0.

It judges any such dataset, not only Millrace's. What needs a model or a machine (rows 11 and 12 of the checklist in
facts/gr00t.md: a checkpoint's own tags and limits, batch and memory) is left to train/preflight.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from millrace.engine.dataset.checks import CHECKS, Check, Severity
from millrace.engine.dataset.groot_view import read_view
from millrace.engine.dataset.json_files import is_file, why_no_folder
from millrace.engine.dataset.metadata import Episode, Metadata
from millrace.engine.dataset.modality_config import GrootConfig
from millrace.engine.dataset.problems import DatasetLayout, Problem, Report, format_report, to_json
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.reading import read_metadata
from millrace.engine.dataset.releases import RELEASES, Release, ReleaseChoice, VideoBackend, find_release
from millrace.engine.dataset.stored_statistics import read_relative_stats, read_stats
from millrace.engine.dataset.v3_checks import V3_CHECKS
from millrace.engine.sources.location import parse_hub_id
from millrace.engine.validate.episode_statistics import episode_statistics_problems
from millrace.engine.validate.info import info_problems, template_problems
from millrace.engine.validate.listed_files import manifest_problems, read_resting_joints
from millrace.engine.validate.modality_json import modality_problems
from millrace.engine.validate.release_checks import release_problems
from millrace.engine.validate.row_checks import UNSOUND_ROWS, orphan_row_problems, row_problems
from millrace.engine.validate.statistics import limit_problems, spread_problems, value_problems
from millrace.engine.validate.stats_fingerprints import fingerprint_problems
from millrace.engine.validate.training import camera_aspect_problems, length_problems
from millrace.engine.validate.v3.judge_v3 import Progress, V3Job, judge_v3
from millrace.engine.validate.v3.v3_reading import find_layout
from millrace.engine.validate.video_checks import orphan_video_problems, video_problems

__all__ = [
    "CHECKS",
    "V3_CHECKS",
    "Check",
    "DatasetLayout",
    "Problem",
    "Progress",
    "Report",
    "Severity",
    "VideoBackend",
    "format_report",
    "to_json",
    "validate",
]

# Fifteen seconds of work; a process takes a second to start, three times.
EPISODES_A_PROCESS = 1000
# Episodes that a process judges at a time: few of them when Ctrl-C comes, many against what handing them over costs.
EPISODES_AT_ONCE = 16


def validate(
    dataset: str | Path,
    *,
    deep: bool = False,
    config: GrootConfig | None = None,
    gr00t: ReleaseChoice | None = None,
    video_backend: VideoBackend | None = None,
    layout: DatasetLayout | None = None,
    scratch: str | Path | None = None,
    num_processes: int = 1,
    on_progress: Progress = lambda stage, num_done, num_all: None,
) -> Report:
    """Validate a dataset; whatever is wrong with it becomes a Problem.

    Args:
        dataset: Its folder; nothing in it is written or run.
        deep: Also decode every frame.
        config: The modality config to judge it by; None for its own modality_config.py.
        gr00t: The release of GR00T that it is for; None for each: what only some of them refuse is a warning.
        video_backend: The decoder of GR00T's that must read the videos; None: a warning where one of them cannot.
        layout: What to judge it as: "v2.1", which GR00T reads, or LeRobot's "v3.0", to which config, gr00t and
            video_backend do not apply. None: by its files.
        scratch: A folder for temporary files, at most 4 bytes for each float of the rows; None for the system's.
        num_processes: Processes that read the files, at most; small datasets take fewer. A script that asks for more
            than one needs `if __name__ == "__main__":`, as with multiprocessing.
        on_progress: Told the stage ("files", "episodes", "videos", "statistics"), how much of it is done, and of how
            much, where that is known.

    Raises:
        NoScratchSpace: that folder has too little room. It says nothing about the dataset.
        UnknownName: there is no such release.
        WorkersFailed: one of several processes ended.
    """
    root, releases = Path(dataset), RELEASES if gr00t is None else (find_release(gr00t),)
    asked = {None, *(["deep"] if deep else []), *(["video_backend"] if video_backend else [])}
    num_checks = sum(check.needs in asked for check in CHECKS.values())
    if reason := why_no_folder(root):
        return Report((Problem.of("dataset-missing", None, _explain_not_found(root, reason)),), 0, 0, num_checks)
    if (view := read_view(root)) is not None:
        message = f"{root} is a view of {view.dataset}, which is to be named instead"
        return Report((Problem.of("dataset-missing", None, message),), 0, 0, num_checks)
    scratch = Path(scratch or tempfile.gettempdir())
    if (layout or find_layout(root)) == "v3.0":
        return judge_v3(root, V3Job(deep, scratch, num_processes, on_progress))
    metadata, problems = read_metadata(root, config)
    num_processes = 1 if metadata is None else min(num_processes, 1 + metadata.num_episodes // EPISODES_A_PROCESS)
    problems += manifest_problems(
        root, lambda num_done: on_progress("files", num_done, None), num_processes=num_processes
    )
    if metadata is None:
        return Report(tuple(problems), 0, 0, num_checks)
    job = _Job(deep, releases, video_backend, scratch, num_processes, on_progress)
    problems += _judge(metadata, job)
    return Report(tuple(problems), metadata.num_episodes, metadata.num_frames, num_checks)


def _explain_not_found(root: Path, reason: str) -> str:
    """Why there is no dataset at a path, and where it may be instead."""
    if is_file(root):
        return f"{root} is a file; name the folder of the dataset, the one that holds meta/"
    hub_id = parse_hub_id(root)
    if hub_id is None:
        return f"the folder {root} {reason}"
    where = f"--local-dir DIR{'' if hub_id.revision is None else f' --revision {hub_id.revision}'}"
    return (
        f"the folder {root} {reason}. A dataset on the Hub must be downloaded to be validated: "
        f"hf download {hub_id.repo} --repo-type dataset {where}"
    )


@dataclass(frozen=True)
class _Job:
    """How to validate a dataset; see `validate`."""

    deep: bool
    releases: Sequence[Release]
    video_backend: VideoBackend | None
    scratch: Path
    num_processes: int
    on_progress: Progress


def _judge(metadata: Metadata, job: _Job) -> Iterator[Problem]:
    """All that can be said once info.json and episodes.jsonl are read."""
    yield from info_problems(metadata)
    yield from modality_problems(metadata)
    yield from episode_statistics_problems(metadata)
    unfillable = list(template_problems(metadata))
    yield from unfillable
    has_sound_rows = not unfillable
    if not unfillable:
        for found in _file_problems(metadata, job):
            has_sound_rows &= found.code not in UNSOUND_ROWS
            yield found
    stats, relative = read_stats(metadata), read_relative_stats(metadata)
    yield from (*stats.problems, *relative.problems)
    yield from fingerprint_problems(metadata, stats, relative)
    yield from spread_problems(metadata, stats.entries, read_resting_joints(metadata.root))
    yield from limit_problems(metadata, stats.entries)
    yield from release_problems(metadata, job.releases, stored_horizon=relative.horizon)
    yield from camera_aspect_problems(metadata)
    yield from length_problems(metadata, stored_horizon=relative.horizon)
    if has_sound_rows and (stats.entries or relative.entries):
        yield from value_problems(
            metadata,
            stats.entries,
            relative.entries,
            scratch=job.scratch,
            num_processes=job.num_processes,
            on_episode=lambda num_done: job.on_progress("statistics", num_done, metadata.num_episodes),
        )


def _file_problems(metadata: Metadata, job: _Job) -> Iterator[Problem]:
    """Every episode's files, and those that are no episode's."""
    yield from orphan_row_problems(metadata)
    yield from orphan_video_problems(metadata)
    judge = partial(_judge_episodes, metadata, job.deep, job.video_backend)
    num_done = 0
    for episodes in map_in_processes(
        judge, chunks(metadata.episodes(), EPISODES_AT_ONCE), num_processes=job.num_processes
    ):
        for problems in episodes:
            yield from problems
        num_done += len(episodes)
        job.on_progress("episodes", num_done, metadata.num_episodes)


def _judge_episodes(
    metadata: Metadata, deep: bool, video_backend: VideoBackend | None, episodes: Sequence[Episode]
) -> list[list[Problem]]:
    """What is wrong with each episode's rows and videos."""
    return [
        [
            *row_problems(metadata, episode),
            *video_problems(metadata, episode, deep=deep, video_backend=video_backend),
        ]
        for episode in episodes
    ]
