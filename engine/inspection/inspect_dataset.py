"""Inspect a whole dataset: metadata of all episodes, rows and video headers of many, frames of a few."""

import os
from collections.abc import Callable, Container, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

from millrace.embodiments import MillraceError, Robot, load_robot
from millrace.engine.inspection.columns import Columns
from millrace.engine.inspection.episode_rows import RowChecks
from millrace.engine.inspection.facts import (
    Claims,
    EpisodeFiles,
    FeatureFacts,
    Inspection,
    MotionFacts,
    claim_findings,
    count_tasks,
    measure_files,
    metadata_findings,
    rare_task_findings,
    read_claims,
    task_findings,
)
from millrace.engine.inspection.findings import SEVERITIES, Finding, make_finding
from millrace.engine.inspection.inspect_rows import RowsResult, inspect_rows, select_evenly
from millrace.engine.inspection.unlike_episodes import length_findings
from millrace.engine.inspection.unopened import inspect_unopened
from millrace.engine.inspection.video_facts import VideosResult, inspect_videos
from millrace.engine.planning.robot_guess import RobotGuess, guess_robot
from millrace.engine.sources import (
    SourceDataset,
    SourceEpisode,
    fetch_images,
    open_source,
)
from millrace.engine.sources.selection import select_episodes

# Datasets of more episodes are sampled, so that 100,000 take about a minute.
MAX_EPISODES = 1000
# Of a dataset on the Hub, where each has to be downloaded with all its videos.
MAX_REMOTE_EPISODES = 4
# Pixels to decode in all; a core decodes some 3 * 10^8 in a second.
PIXEL_BUDGET = 4e9

OnProgress = Callable[[str, int, int], None]
Result = TypeVar("Result")


def inspect_dataset(
    path: str | Path,
    *,
    episodes: str | None = None,
    max_episodes: int = MAX_EPISODES,
    follow_links: bool = False,
    format: str | None = None,
    fps: Fraction | None = None,
    on_progress: OnProgress = lambda stage, num_done, num_all: None,
) -> Inspection:
    """Inspect a dataset: what it holds, which robot it is of, and what is wrong with it.

    Metadata and the sizes of files are those of all episodes. Rows and video headers are read of at most
    `max_episodes`, evenly spaced, and a few frames are decoded of up to a dozen of these. The same
    files give the same inspection. Of a dataset on the Hub only a few episodes are downloaded, unless
    `episodes` names more.

    Args:
        path: Folder of the dataset, in any layout, or org/name[@revision] on the Hub.
        episodes: Look into these only: "0:40", or "3,5,10:20".
        max_episodes: Look into no more than these.
        follow_links, format, fps: See `open_source`.
        on_progress: Told the stage ("download", "rows", "videos"), what of it is done and what there is in all.

    Raises:
        MillraceError: there is no such folder or repository, or no such episode; anything less is a finding.
    """
    try:
        dataset = open_source(path, follow_links=follow_links, format=format, fps=fps)
    except MillraceError as error:
        if not os.path.isdir(path):  # unlike pathlib, False of a folder that permissions hide
            raise
        return inspect_unopened(Path(path), error)
    chosen = select_inspected(dataset, episodes, max_episodes=max_episodes)
    return inspect_source(dataset, chosen, on_progress=on_progress, pixel_budget=PIXEL_BUDGET)


def inspect_source(
    dataset: SourceDataset,
    chosen: Sequence[SourceEpisode],
    *,
    on_progress: OnProgress,
    pixel_budget: float,
    robot: Robot | None = None,
) -> Inspection:
    """Inspect the chosen episodes of an open dataset, and the metadata of all.

    Args:
        dataset: The dataset.
        chosen: Those of its episodes whose rows and videos are read.
        on_progress: As `inspect_dataset`.
        pixel_budget: Pixels to decode in all.
        robot: Of the dataset, where that is known.
    """
    files = measure_files(dataset)
    fetch_episodes(chosen, files.missing, partial(on_progress, "download"))
    failed: list[Finding] = []
    if robot is not None:
        guess = RobotGuess(robot.name, "it was converted to this robot", confidence="certain")
    else:
        guess = _run_part(partial(guess_robot, dataset), RobotGuess(None, "it cannot be told"), failed)
        robot = None if guess.name is None else load_robot(guess.name)
    with_rows = [episode for episode in chosen if not any(rows.path in files.missing for rows in episode.rows)]
    look = partial(inspect_rows, dataset, with_rows, robot, on_progress=partial(on_progress, "rows"))
    unread = RowChecks(Columns({}, (), (), ()), dataset.fps, frozenset(), {})
    rows = _run_part(look, RowsResult(unread, MotionFacts(), ()), failed)
    watch = partial(
        inspect_videos, missing=files.missing, pixel_budget=pixel_budget, on_progress=partial(on_progress, "videos")
    )
    videos = _run_part(partial(watch, dataset, chosen, rows.checks), VideosResult((), 0, ()), failed)
    claims = _run_part(partial(read_claims, dataset.root, dataset.files.bounds(dataset.root)), Claims(), failed)
    findings = [
        *failed,
        *claim_findings(dataset, claims),
        *metadata_findings(dataset),
        *task_findings(dataset),
        *rare_task_findings(count_tasks(dataset)),
        *length_findings(dataset.episodes, chosen),
        *files.findings,
        *rows.findings,
        *videos.findings,
    ]
    return _summarize(dataset, guess, claims, files, rows, videos, findings, num_inspected=len(chosen))


def _run_part(work: Callable[[], Result], otherwise: Result, failed: list[Finding]) -> Result:
    """Run one part of the inspection; an error becomes a finding, and the other parts still run."""
    try:
        return work()
    except (MillraceError, OSError) as error:
        failed.append(make_finding("not-inspected", str(error)))
        return otherwise


def select_inspected(dataset: SourceDataset, selection: str | None, *, max_episodes: int) -> list[SourceEpisode]:
    """At most so many of the selected episodes; a dataset without any is no reason to refuse a look at it."""
    if selection is not None:
        return select_evenly(select_episodes(dataset, selection), max_episodes)
    return select_evenly(
        dataset.episodes, min(max_episodes, MAX_REMOTE_EPISODES) if dataset.is_remote else max_episodes
    )


def fetch_episodes(
    episodes: Sequence[SourceEpisode], missing: Container[Path], on_progress: Callable[[int, int], None]
) -> None:
    """Fetch what is not on this machine, but for what is missing elsewhere, too."""
    for number, episode in enumerate(episodes, start=1):
        if episode.repository is not None:
            episode.repository.fetch([path for path in episode.paths if path not in missing])
            fetch_images(episode.clips, episode.repository)
            on_progress(number, len(episodes))


def _summarize(
    dataset: SourceDataset,
    robot: RobotGuess,
    claims: Claims,
    files: EpisodeFiles,
    rows: RowsResult,
    videos: VideosResult,
    findings: Sequence[Finding],
    *,
    num_inspected: int,
) -> Inspection:
    lengths = [episode.num_frames for episode in dataset.episodes]
    return Inspection(
        root=dataset.root,
        layout=dataset.layout,
        codebase_version=None if claims.codebase_version is None else str(claims.codebase_version),
        robot_type=dataset.robot_type,
        robot=robot,
        fps=float(dataset.fps),
        num_episodes=len(lengths),
        num_frames=sum(lengths),
        duration_seconds=float(sum(lengths) / dataset.fps),
        shortest_frames=min(lengths, default=0),
        longest_frames=max(lengths, default=0),
        num_rows_bytes=files.num_rows_bytes,
        num_video_bytes=files.num_video_bytes,
        features=tuple(
            FeatureFacts(name, feature.dtype, feature.shape, feature.names)
            for name, feature in dataset.features.items()
        ),
        cameras=videos.cameras,
        tasks=count_tasks(dataset),
        motion=rows.motion,
        episodes=rows.episodes,
        joints=rows.joints,
        num_inspected=num_inspected,
        num_watched=videos.num_watched,
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        address=dataset.address if dataset.is_remote else None,
    )
