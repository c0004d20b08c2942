"""Inspect one episode's rows: values, timestamps, jumps, motion."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from millrace.embodiments import MillraceError
from millrace.engine.dataset.data_checks import check_frame_index, check_timestamps
from millrace.engine.dataset.jumps import check_jumps
from millrace.engine.dataset.quantiles import column_quantiles
from millrace.engine.dataset.rows import to_numbers
from millrace.engine.errors import RowsError
from millrace.engine.inspection.columns import Columns, is_joints
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.motion import Extent, Floats, LagSums, lag_sums, measure_jerk
from millrace.engine.inspection.outliers import EpisodeSummary
from millrace.engine.inspection.row_facts import Samples, sample_rows
from millrace.engine.inspection.stand_still import STILL_SHARE, IdleFrames, StillChecks, measure_idle
from millrace.engine.inspection.unlike_episodes import EpisodePath, summarize_path
from millrace.engine.sources import RowReader, SourceEpisode
from millrace.engine.text import join_names

MAX_LAG_SECONDS = 0.5
STEP_SECONDS = 0.1

# Of an episode's frames: what lies further out for so few says nothing of its range.
TRIMMED = (0.01, 0.99)


@dataclass(frozen=True, eq=False)
class RowChecks:
    """What every episode of a dataset is checked against.

    scales: the whole range of each joint, by column of motion, (D,) each. still: None where no robot is known.
    """

    columns: Columns
    fps: Fraction
    tasks: frozenset[int]
    scales: Mapping[str, Floats]
    still: StillChecks | None = None

    @cached_property
    def scale(self) -> Floats:
        """The scales of the columns of motion, side by side."""
        return np.concatenate([self.scales[name] for name in self.columns.motion if name in self.scales])

    @cached_property
    def motion_names(self) -> list[str]:
        """Names of the joints of motion, in that order."""
        return [joint for name in self.columns.motion if name in self.scales for joint in self.columns.joints(name)]


@dataclass(frozen=True, eq=False)
class RowReport:
    """What one episode's rows showed.

    extents: lowest and highest value of each sound column, (D,) each. idle: None where motion cannot
    be told. summary: what other episodes are compared with. agreement: lowest and highest correlation of each
    pair's action and state at any lag, (P,) each. samples: some rows of each column of joints. path, jerk: of the
    joints of motion. dwell: shares of the rows that have the lowest and the highest value, by column, (D,) each.
    """

    findings: tuple[Finding, ...]
    num_frames: int = 0
    idle: IdleFrames | None = None
    extents: Mapping[str, Extent] = field(default_factory=dict)
    lag: LagSums | None = None
    summary: EpisodeSummary | None = None
    agreement: Extent | None = None
    samples: Samples = field(default_factory=dict)
    path: EpisodePath | None = None
    jerk: Floats | None = None
    dwell: Mapping[str, Extent] = field(default_factory=dict)


def check_rows(episode: SourceEpisode, checks: RowChecks, reader: RowReader) -> RowReport:
    """Check one episode's rows; whatever is wrong with them becomes a finding."""
    try:
        values, findings = read_values(episode, checks.columns, reader)
    except MillraceError as error:
        return RowReport(
            (make_finding("unreadable-rows", error.message, episode=episode.index, path=episode.rows[0].path),)
        )
    num_rows = len(next(iter(values.values()), ()))
    findings += _bookkeeping_findings(episode, values, num_rows, checks)
    sound = {name: values[name] for name in checks.columns.floats if name in values and np.isfinite(values[name]).all()}
    for name in sound:
        findings += _jump_findings(episode, name, checks.columns, sound[name])
    positions = scale_positions(sound, checks)
    idle = _measure_idle(sound, positions, checks)
    if idle is not None:
        findings += _idle_findings(episode, idle, num_rows, checks.fps)
    lag = measure_lag(sound, checks)
    summary = summarize_episode(episode.index, sound)
    digest = None if summary is None else summary.digest
    extents = measure_extents(sound)
    return RowReport(
        tuple(findings),
        num_rows,
        idle,
        extents,
        lag,
        summary,
        None if lag is None else lag.agreement,
        sample_rows(sound),
        None if positions is None else summarize_path(episode.index, positions, digest),
        None if positions is None else measure_jerk(positions),
        {name: _measure_dwell(sound[name], extent) for name, extent in extents.items() if is_joints(name)},
    )


def read_values(episode: SourceEpisode, columns: Columns, reader: RowReader) -> tuple[dict[str, Floats], list[Finding]]:
    """The wanted columns that hold what they should, (T, D) each, and what is wrong with the others.

    Missing values become NaN.

    Raises:
        MillraceError: the rows cannot be found or read.
    """
    _, table = reader.read(episode, columns.names)
    values: dict[str, Floats] = {}
    findings: list[Finding] = []
    for name in columns.names if len(table) else ():
        try:
            numbers = to_numbers(table.column(name), fill_nan=True).astype(np.float64)
        except RowsError as error:
            findings.append(make_finding("not-numbers", f"'{name}' {error}", episode=episode.index))
            continue
        column = numbers if numbers.ndim == 2 else numbers[:, None]
        wanted = columns.widths[name]
        if column.shape[1] != wanted:
            message = f"'{name}' holds {column.shape[1]} values a row, but info.json says {wanted}"
            findings.append(make_finding("wrong-width", message, episode=episode.index))
            continue
        values[name] = column
        findings += _missing_value_findings(episode, name, columns.joints(name), column)
    return values, findings


def scale_positions(values: Mapping[str, Floats], checks: RowChecks) -> Floats | None:
    """The joints of motion, (T, D), in shares of their range; None where a column is missing or not sound."""
    names = [name for name in checks.columns.motion if name in checks.scales]
    if not names or not all(name in values and np.isfinite(values[name]).all() for name in names):
        return None
    return np.concatenate([values[name] for name in names], axis=1) / checks.scale


def measure_extents(values: Mapping[str, Floats]) -> dict[str, Extent]:
    """Lowest and highest value of each column that is sound and not empty."""
    sound = {name: column for name, column in values.items() if len(column) and np.isfinite(column).all()}
    return {name: (column.min(axis=0), column.max(axis=0)) for name, column in sound.items()}


def _measure_dwell(values: Floats, extent: Extent) -> Extent:
    low, high = extent
    return (values == low).mean(axis=0), (values == high).mean(axis=0)


def summarize_episode(index: int, values: Mapping[str, Floats]) -> EpisodeSummary | None:
    """Summarize an episode's joints without their outermost frames; None where no column is sound."""
    sound = {name: column for name, column in values.items() if len(column) and np.isfinite(column).all()}
    if not sound:
        return None
    compared = {name: column for name, column in sound.items() if is_joints(name)}
    trimmed = {name: column_quantiles(column, TRIMMED) for name, column in compared.items()}
    digest = hashlib.sha256()
    for name in sorted(sound):
        digest.update(np.ascontiguousarray(sound[name]).tobytes())
    is_told = any(np.ptp(column, axis=0).any() for column in sound.values())
    return EpisodeSummary(
        index,
        {name: (low, high) for name, (low, high) in trimmed.items()},
        {name: (column[0], column[-1]) for name, column in compared.items()},
        digest.digest() if is_told else None,
    )


def _jump_findings(episode: SourceEpisode, name: str, columns: Columns, values: Floats) -> Iterator[Finding]:
    """Jumps of joints, one finding for each joint and kind."""
    if not is_joints(name):
        return
    for code, message in check_jumps(values, columns.joints(name)):
        yield make_finding(code, f"'{name}': {message}", episode=episode.index)


def _missing_value_findings(episode: SourceEpisode, name: str, joints: list[str], values: Floats) -> Iterator[Finding]:
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.flatnonzero(bad.any(axis=1))[0])
        places = [joints[place] for place in np.flatnonzero(bad.any(axis=0))]
        message = (
            f"'{name}': NaN, infinite or missing in {join_names(places)}: {bad.sum()} values, the first in row {first}"
        )
        yield make_finding("nan", message, episode=episode.index)


def _bookkeeping_findings(
    episode: SourceEpisode, values: Mapping[str, Floats], num_rows: int, checks: RowChecks
) -> Iterator[Finding]:
    if num_rows != episode.num_frames:
        message = f"{num_rows} rows, but the metadata says {episode.num_frames}"
        yield make_finding("row-count", message, episode=episode.index, path=episode.rows[0].path)
    if "timestamp" in values:
        for code, message in check_timestamps(values["timestamp"][:, 0], checks.fps):
            yield make_finding(code, message, episode=episode.index)
    if "frame_index" in values:
        for code, message in check_frame_index(values["frame_index"][:, 0]):
            yield make_finding(code, message, episode=episode.index)
    if "task_index" in values and checks.tasks:
        unknown = [f"{index:g}" for index in np.unique(values["task_index"]) if index not in checks.tasks]
        if unknown:
            yield make_finding("unknown-task", f"no task has the index {join_names(unknown)}", episode=episode.index)


def _measure_idle(values: Mapping[str, Floats], shares: Floats | None, checks: RowChecks) -> IdleFrames | None:
    """How long the robot stands still, by its bands; of an unknown robot by shares of each joint's usual range."""
    if checks.still is not None:
        positions = checks.still.positions(values, checks.fps)
    else:
        positions = None if shares is None else shares / STILL_SHARE
    return None if positions is None or not len(positions) else measure_idle(positions, checks.fps)


def _idle_findings(episode: SourceEpisode, idle: IdleFrames, num_frames: int, fps: Fraction) -> Iterator[Finding]:
    num_seconds = num_frames / float(fps)
    if idle.num_frames == num_frames:
        message = f"nothing moves in all {num_seconds:.1f} s"
        yield make_finding("idle-episode", message, episode=episode.index)
    elif idle.num_frames:
        seconds, start, end, longest, place = (
            frames / float(fps) for frames in (idle.num_frames, idle.start, idle.end, idle.longest, idle.longest_start)
        )
        message = (
            f"stands still for {seconds:.1f} of {num_seconds:.1f} s ({idle.num_frames / num_frames:.0%}): "
            f"{start:.1f} s at the start, {end:.1f} s at the end, "
            f"at the longest {longest:.1f} s, from {place:.1f} s"
        )
        yield make_finding("idle", message, episode=episode.index)


def measure_lag(values: Mapping[str, Floats], checks: RowChecks) -> LagSums | None:
    """What one episode says of the lag of its states, or None; values: of sound columns."""
    pairs, rate = checks.columns.pairs, float(checks.fps)
    if not pairs or not all(name in values for pair in pairs for name in (pair.action[0], pair.state[0])):
        return None
    # Columns differ in their units: a gripper of 0 and 1 must not hide joints that move by a tenth of a radian.
    units = np.array([checks.scales[pair.state[0]].max() if pair.state[0] in checks.scales else 1.0 for pair in pairs])
    action, state = (
        np.stack([values[name][:, place] for name, place in places], axis=1) / units
        for places in ([pair.action for pair in pairs], [pair.state for pair in pairs])
    )
    return lag_sums(
        action, state, max_lag=max(1, round(MAX_LAG_SECONDS * rate)), step=max(1, round(STEP_SECONDS * rate))
    )
