"""The promises of a finished dataset, each a named check; see CHECKS.

It judges any GR00T dataset, not only Millrace's. What needs a model or a machine (rows 11 and 12 of the checklist in
facts/gr00t.md: a checkpoint's own tags and limits, batch and memory) is left to train/preflight.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from engine.validate.checks import CHECKS, Check, Severity
from engine.validate.config import GrootConfig
from engine.validate.episode_statistics import episode_statistics_problems
from engine.validate.files import why_no_folder
from engine.validate.info import info_problems, template_problems
from engine.validate.manifest import manifest_problems
from engine.validate.metadata import Metadata
from engine.validate.modality import modality_problems
from engine.validate.reading import read_metadata
from engine.validate.report import Problem, Report, format_report, problem
from engine.validate.rows import UNSOUND_ROWS, orphan_rows, row_problems
from engine.validate.statistics import spread_problems, value_problems
from engine.validate.stored_statistics import read_relative_stats, read_stats
from engine.validate.training import training_problems
from engine.validate.videos import orphan_videos, video_problems

__all__ = ["CHECKS", "Check", "Problem", "Report", "Severity", "format_report", "validate"]

Progress = Callable[[str, int, int | None], None]


def validate(
    dataset: str | Path,
    *,
    deep: bool = False,
    config: GrootConfig | None = None,
    on_progress: Progress = lambda stage, num_done, num_all: None,
) -> Report:
    """Judge a dataset; whatever is wrong with it becomes a Problem, nothing is raised.

    Args:
        dataset: Its folder; nothing in it is written or run.
        deep: Also decode every frame.
        config: The modality config to judge it by; None for its own modality_config.py.
        on_progress: Told the stage ("files", "episodes", "statistics"), how much of it is done, and of how much, where
            that is known.
    """
    root = Path(dataset)
    num_checks = sum(deep or not check.is_deep for check in CHECKS.values())
    if reason := why_no_folder(root):
        return Report((problem("dataset-missing", None, f"the folder {root} {reason}"),), 0, 0, num_checks)
    metadata, problems = read_metadata(root, config)
    problems += manifest_problems(root, lambda num_done: on_progress("files", num_done, None))
    if metadata is None:
        return Report(tuple(problems), 0, 0, num_checks)
    problems += _judge(metadata, deep, on_progress)
    return Report(tuple(problems), metadata.num_episodes, metadata.num_frames, num_checks)


def _judge(metadata: Metadata, deep: bool, on_progress: Progress) -> Iterator[Problem]:
    """All that can be said once info.json and episodes.jsonl are read."""
    yield from info_problems(metadata)
    yield from modality_problems(metadata)
    yield from episode_statistics_problems(metadata)
    unfillable = list(template_problems(metadata))
    yield from unfillable
    has_sound_rows = not unfillable
    if not unfillable:
        for found in _file_problems(metadata, deep, on_progress):
            has_sound_rows &= found.code not in UNSOUND_ROWS
            yield found
    stats, relative = read_stats(metadata), read_relative_stats(metadata)
    yield from (*stats.problems, *relative.problems)
    yield from spread_problems(metadata, stats.entries)
    yield from training_problems(metadata, stored_horizon=relative.horizon)
    if has_sound_rows and (stats.entries or relative.entries):
        yield from value_problems(
            metadata,
            stats.entries,
            relative.entries,
            on_episode=lambda num_done: on_progress("statistics", num_done, metadata.num_episodes),
        )


def _file_problems(metadata: Metadata, deep: bool, on_progress: Progress) -> Iterator[Problem]:
    """Every episode's files, and those that are no episode's."""
    yield from orphan_rows(metadata)
    yield from orphan_videos(metadata)
    for num_done, episode in enumerate(metadata.episodes(), start=1):
        yield from row_problems(metadata, episode)
        yield from video_problems(metadata, episode, deep=deep)
        on_progress("episodes", num_done, metadata.num_episodes)
