"""Inspect the rows of many episodes, each by itself and all together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from millrace.embodiments import MillraceError, Robot
from millrace.engine.inspection.columns import Columns, choose_columns, is_joints
from millrace.engine.inspection.episode_rows import (
    RowChecks,
    RowReport,
    check_rows,
    read_values,
    summarize_episode,
)
from millrace.engine.inspection.facts import MotionFacts
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.joint_limits import limit_checks
from millrace.engine.inspection.motion import Extent, Floats, LagFit, LagSums, best_lag, joint_scale
from millrace.engine.inspection.outliers import EpisodeSummary, outlier_findings, usual_extents
from millrace.engine.inspection.row_facts import EpisodeFacts, JointFacts, list_joint_facts
from millrace.engine.inspection.stand_still import still_checks
from millrace.engine.inspection.unlike_episodes import EpisodePath, jerk_findings, near_duplicate_findings
from millrace.engine.sources import Feature, RowReader, SourceDataset, SourceEpisode, camera_name
from millrace.engine.text import join_names

# Episodes that tell how far each joint goes.
MAX_SCALED = 32
UNRELATED_CORRELATION = 0.5
CONSTANT_SHARE = 1e-6
# Correlations at the best lag: a joint that follows its action, in so many of the episodes, at least.
AGREEING, MOST, MIN_COMPARED = 0.7, 0.6, 4


@dataclass(frozen=True, eq=False)
class RowsResult:
    """What the rows showed, and the checks that other inspections continue with."""

    checks: RowChecks
    motion: MotionFacts
    findings: tuple[Finding, ...]
    episodes: tuple[EpisodeFacts, ...] = ()
    joints: tuple[JointFacts, ...] = ()


def inspect_rows(
    dataset: SourceDataset,
    episodes: Sequence[SourceEpisode],
    robot: Robot | None,
    *,
    on_progress: Callable[[int, int], None],
) -> RowsResult:
    """Read the rows of the episodes, one at a time.

    Args:
        dataset: The dataset.
        episodes: Those of it whose rows exist.
        robot: The dataset's robot, where that is known.
        on_progress: Told after each how many are done, and how many there are.
    """
    features, findings = stored_features(dataset, episodes)
    reader = RowReader()
    checks = make_row_checks(dataset, choose_columns(features, robot), episodes, reader)
    checks = replace(checks, still=still_checks(dataset, robot))
    limits = limit_checks(dataset, robot)
    everything = _AllEpisodes()
    for number, episode in enumerate(episodes, start=1):
        report = check_rows(episode, checks, reader)
        findings += report.findings
        findings += [] if limits is None else limits.findings(episode, report.extents, report.dwell)
        everything.add(episode, report)
        on_progress(number, len(episodes))
    fps = float(dataset.fps)
    findings += everything.findings(checks, fps)
    joints = tuple(list_joint_facts(checks.columns, everything.extents, everything.samples))
    tolerances = {} if checks.still is None else checks.still.tolerances
    return RowsResult(checks, everything.motion(fps, tolerances), tuple(findings), tuple(everything.episodes), joints)


class _AllEpisodes:
    """What the rows of all episodes show together."""

    def __init__(self) -> None:
        self.extents: dict[str, Extent] = {}
        self.summaries: list[EpisodeSummary] = []
        self.agreements: dict[int, Extent] = {}
        self.episodes: list[EpisodeFacts] = []
        self.samples: dict[str, list[Floats]] = {}
        self.paths: list[EpisodePath] = []
        self.jerks: dict[int, Floats] = {}
        self.lag: LagSums | None = None
        self.num_frames = self.num_idle = 0

    def add(self, episode: SourceEpisode, report: RowReport) -> None:
        """Add one episode's report."""
        for name, (low, high) in report.extents.items():
            lowest, highest = self.extents.get(name, (low, high))
            self.extents[name] = np.minimum(low, lowest), np.maximum(high, highest)
        if report.summary is not None:
            self.summaries.append(report.summary)
        if report.agreement is not None:
            self.agreements[episode.index] = report.agreement
        if report.path is not None:
            self.paths.append(report.path)
        if report.jerk is not None:
            self.jerks[episode.index] = report.jerk
        for name, rows in report.samples.items():
            self.samples.setdefault(name, []).append(rows)
        fit = None if report.lag is None else best_lag(report.lag)
        lag = None if fit is None or fit.correlation < UNRELATED_CORRELATION else fit.frames
        idle = report.idle
        facts = () if idle is None else (idle.num_frames, lag, idle.start, idle.end, idle.longest)
        self.episodes.append(EpisodeFacts(episode.index, episode.num_frames, *(facts or (None, lag))))
        if report.lag is not None:
            self.lag = report.lag if self.lag is None else self.lag + report.lag
        if idle is not None:
            self.num_frames, self.num_idle = self.num_frames + report.num_frames, self.num_idle + idle.num_frames

    def findings(self, checks: RowChecks, fps: float) -> Iterator[Finding]:
        """Findings that only all episodes together show."""
        columns = checks.columns
        yield from _constant_findings(self.extents, columns)
        yield from outlier_findings(self.summaries, columns)
        yield from _reversed_findings(self.agreements, columns)
        yield from near_duplicate_findings(self.paths)
        yield from jerk_findings(self.jerks, checks.motion_names)
        if self.lag is not None and (fit := best_lag(self.lag)) is not None:
            yield _lag_finding(self.lag, fit, fps)

    def motion(self, fps: float, tolerances: Mapping[str, str]) -> MotionFacts:
        """How the robot moves; fps: the dataset's rate. tolerances: what counts as still."""
        fit = None if self.lag is None else best_lag(self.lag)
        return MotionFacts(
            lag_frames=None if fit is None else fit.frames,
            lag_seconds=None if fit is None else fit.frames / fps,
            lag_correlation=None if fit is None else fit.correlation,
            idle_share=self.num_idle / self.num_frames if self.num_frames else None,
            still_within=dict(tolerances),
        )


def select_evenly(episodes: Sequence[SourceEpisode], limit: int) -> list[SourceEpisode]:
    """At most `limit` of the episodes, evenly spaced, the first and the last among them."""
    if len(episodes) <= limit:
        return list(episodes)
    return [episodes[place] for place in np.linspace(0, len(episodes) - 1, limit).round().astype(int).tolist()]


def stored_features(
    dataset: SourceDataset, episodes: Sequence[SourceEpisode]
) -> tuple[dict[str, Feature], list[Finding]]:
    """The features that the files of rows hold, judged by the first that can be read."""
    features = dict(dataset.features)
    for episode in select_evenly(episodes, MAX_SCALED):
        try:
            stored = RowReader().read_names(episode.rows[0])
        except MillraceError:
            continue
        elsewhere = {camera for camera, clip in episode.clips.items() if clip.paths}
        lacking = [
            name
            for name, feature in features.items()
            if feature.dtype != "video" and name not in stored and camera_name(name) not in elsewhere
        ]
        path = episode.rows[0].path
        where = f"is in info.json, but not in {path}. Known: {join_names(stored, 20)}"
        findings = [make_finding("missing-column", f"'{name}' {where}", path=path) for name in lacking]
        return {name: feature for name, feature in features.items() if name not in lacking}, findings
    return features, []


def make_row_checks(
    dataset: SourceDataset, columns: Columns, episodes: Sequence[SourceEpisode], reader: RowReader
) -> RowChecks:
    summaries: list[EpisodeSummary] = []
    for episode in select_evenly(episodes, MAX_SCALED):
        try:
            summary = summarize_episode(episode.index, read_values(episode, columns, reader)[0])
        except MillraceError:
            continue  # becomes a finding when its turn comes
        summaries += [] if summary is None else [summary]
    extents = usual_extents(summaries)
    scales = {name: joint_scale(*extents[name]) for name in columns.motion if name in extents}
    return RowChecks(columns, dataset.fps, frozenset(dataset.tasks), scales)


def _constant_findings(extents: Mapping[str, Extent], columns: Columns) -> Iterator[Finding]:
    for name, (low, high) in extents.items():
        if not is_joints(name):
            continue
        is_constant = high - low <= CONSTANT_SHARE * np.maximum(np.abs(low), np.abs(high))
        joints = [columns.joints(name)[place] for place in np.flatnonzero(is_constant)]
        if joints:
            yield make_finding(
                "constant-joint", f"'{name}': {join_names(joints)} never change ({len(joints)} of {len(low)} values)"
            )


def _reversed_findings(agreements: Mapping[int, Extent], columns: Columns) -> Iterator[Finding]:
    """Joints whose state moves against the action in one or a few episodes, and with it in most."""
    if len(agreements) < MIN_COMPARED:
        return
    lowest, highest = (np.stack([extent[place] for extent in agreements.values()]) for place in (0, 1))
    is_against = (lowest < -AGREEING) & (highest < -lowest / 2)
    is_with = (highest > AGREEING) & (-lowest < highest / 2)
    is_odd = is_against & (is_with.mean(axis=0) > MOST)
    for number, pair in np.argwhere(is_odd).tolist():
        message = f"{columns.pairs[pair].name}: the state moves against the action, in most episodes with it"
        yield make_finding("flipped-joint", message, episode=list(agreements)[number])


def _lag_finding(sums: LagSums, fit: LagFit, fps: float) -> Finding:
    lively = sums.is_lively
    joints = f"{fit.num_joints} joints"
    if sums.is_same[lively].all():
        return make_finding(
            "action-is-state", f"the action equals the state of the same frame exactly, in all {joints}"
        )
    if sums.is_next[lively].all():
        return make_finding(
            "action-is-next-state", f"the action equals the state of the next frame exactly, in all {joints}"
        )
    lag = f"{abs(fit.frames)} frame{'s' * (abs(fit.frames) != 1)} ({abs(fit.frames) / fps * 1000:.0f} ms)"
    sureness = f"correlation {fit.correlation:.2f} over {joints}"
    if fit.correlation < UNRELATED_CORRELATION:
        best = f"the best is {fit.correlation:.2f}, over {joints}"
        return make_finding("action-unrelated", f"changes of action and state do not go together at any lag: {best}")
    if fit.frames < 0:
        return make_finding("action-after-state", f"the action follows the state by {lag}; {sureness}")
    return make_finding("action-lag", f"the state follows the action by {lag}; {sureness}")
