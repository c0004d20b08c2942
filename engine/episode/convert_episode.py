"""Convert one episode: from its plan to its files and a record, without Ray."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, Message, MillraceError, Remedy, Setting
from millrace.engine.dataset import (
    ColumnSummary,
    EpisodeFailure,
    EpisodeRecord,
    EpisodeResult,
    EpisodeWarning,
    summarize_columns,
)
from millrace.engine.dataset.camera_levels import pack_levels
from millrace.engine.dataset.file_digests import FileDigests
from millrace.engine.dataset.jumps import check_jumps
from millrace.engine.dataset.limits import warn_beyond
from millrace.engine.dataset.record import FileRecord, SourceFile
from millrace.engine.dataset.rows import EpisodeRows, read_integers, write_rows
from millrace.engine.dataset.writing import explain_write_errors
from millrace.engine.episode.carry import SourceRows, carry_numbers, carry_texts, lost_values
from millrace.engine.episode.clip import ClipSource, write_clip
from millrace.engine.episode.cut_frames import check_left, cut_episode
from millrace.engine.episode.joint_rows import gather_joints
from millrace.engine.episode.row_filter import check_motion
from millrace.engine.episode.row_warnings import FRAME_INDEX, TIMESTAMP, row_warnings
from millrace.engine.episode.stage_clock import StageClock
from millrace.engine.errors import (
    EpisodeDataError,
    EpisodeError,
    FaultCode,
    RowsError,
    VideoError,
    collect_facts,
    fault_code,
    length_advice,
)
from millrace.engine.layout import EpisodePaths, camera_key
from millrace.engine.planning import EpisodePlan, Job
from millrace.engine.planning.action_rule import action_indices
from millrace.engine.planning.action_shift import join_cuts, missing_actions, rows_with_actions, shift_rows
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.frame_choice import FrameChoice, choose_frames
from millrace.engine.planning.language import row_instructions
from millrace.engine.planning.plan import first_fault
from millrace.engine.planning.resample import resample_actions
from millrace.engine.sources import Camera, FileState, RowRange, RowReader, SourceEpisode, fetch_images
from millrace.engine.sources.file_state import why_changed
from millrace.engine.stored import finished_files


def convert_episode(
    plan: EpisodePlan, job: Job, out: Path, scratch: Path, *, reader: RowReader | None = None
) -> EpisodeResult:
    """Convert one episode into `out`; errors in its data are returned as an EpisodeFailure.

    Args:
        plan: The episode.
        job: What all episodes share.
        out: The dataset's folder.
        scratch: A folder on the same file system, for files that are not finished.
        reader: The reader of the episode before, which may have read this one's rows already.
    """
    try:
        return _Conversion(plan, job, out, scratch, reader or RowReader()).run()
    except EpisodeError as error:
        return EpisodeFailure(
            index=plan.index,
            plan=plan.digest,
            binding=plan.binding,
            source_episode=error.episode,
            camera=error.camera,
            code=fault_code(error.__cause__ or error),
            reason=error.reason,
            facts=collect_facts(error),
        )


class _Conversion:
    """The conversion of one episode: first its rows, then each camera's clip, all by the same frame indices."""

    def __init__(self, plan: EpisodePlan, job: Job, out: Path, scratch: Path, reader: RowReader) -> None:
        self.plan, self.job, self.out, self.reader = plan, job, out, reader
        # A worker that counts as lost may still convert the same episode.
        self.unfinished = scratch / f"{plan.index}-{uuid4().hex}"
        self.binding = job.bindings[plan.binding]
        self.paths = EpisodePaths(plan.index, job.chunks_size)
        self.cuts = missing_actions(plan.episode.num_frames, self.binding.action_shift)
        self.choice = self._choose_frames()
        self.clock = StageClock()
        self.rows: RowRange | None = None
        self.finished, self.files = finished_files(out), list[FileRecord]()
        self.copied: list[str] = []
        self.redone: dict[str, str] = {}
        self.warnings: list[EpisodeWarning] = []
        self.stats: dict[str, ColumnSummary] = {}
        self.levels: dict[str, str] = {}
        self.digests = FileDigests(scratch / "digests")

    def run(self) -> EpisodeRecord:
        """Write the episode's files and return its record.

        Raises:
            EpisodeError: it cannot be converted; names the camera where one is concerned.
        """
        with self.plan.episode.holding_files():
            return self._convert()

    def _convert(self) -> EpisodeRecord:
        self._check_faults()
        with self._attribute_errors(None):
            self._check_states()
            self._fetch(() if (is_judged := self.binding.is_judged_by_rows) else self.binding.cameras.values())
            ranges, whole = self._read()
            rows = self._make_rows(ranges, self._trim(ranges, whole), whole)
            self._fetch(self.binding.cameras.values() if is_judged else ())
            self._fetch_images(ranges)
            self._write_rows(rows)
        for camera in self.job.cameras:
            source_camera = self.binding.cameras.get(camera)
            with self._attribute_errors(source_camera or camera):
                self._write_clip(camera, source_camera, ranges)
        return EpisodeRecord(
            index=self.plan.index,
            plan=self.plan.digest,
            binding=self.plan.binding,
            source_episode=self.plan.episode.index,
            num_source_frames=self.plan.episode.num_frames,
            num_frames=len(self.choice.chosen),
            first_index=self.plan.first_index,
            tasks=tuple((index, self.job.tasks[index]) for index in dict.fromkeys(rows.task_index.tolist())),
            files=tuple(self.files),
            copied=tuple(self.copied),
            redone=self.redone,
            warnings=tuple(self.warnings),
            elsewhere=self._unplanned_files(ranges),
            cuts=self.cuts,
            stats=self.stats,
            levels=self.levels,
            seconds=self.clock.seconds,
        )

    def _check_faults(self) -> None:
        """Fail before reading anything if metadata alone shows that the episode is wrong."""
        if fault := first_fault(self.plan, self.job):
            cause = EpisodeDataError(fault.reason, code=fault.code).about(fault.facts)
            raise EpisodeError(self.plan.episode.index, fault.camera, fault.reason) from cause

    def _check_states(self) -> None:
        """Check that this node sees the files that the driver planned with."""
        if reason := why_changed(zip(self.plan.episode.paths, self.plan.states, strict=False)):
            advice = Remedy("the same command plans it again")
            raise EpisodeDataError(f"{socket.gethostname()} {reason}; ", advice, code=FaultCode.CHANGED)

    @contextmanager
    def _attribute_errors(self, camera: str | None) -> Iterator[None]:
        try:
            with explain_write_errors(self.out):
                yield
        except Exception as error:  # a bug of ours or of a codec must not stop the other episodes
            reason = _describe_error(error)
            if camera is not None and fault_code(error) is FaultCode.MISSING:
                advice = Remedy("to do without this camera, pass ", Setting("without_cameras", [camera]))
                reason = Message(reason, "; ", advice)
            rows = None if camera is not None or self.rows is None else self.rows.path
            failed = EpisodeError(self.plan.episode.index, camera, reason)
            raise failed.about(collect_facts(error)).about(file=rows) from error

    def _fetch(self, cameras: Iterable[str]) -> None:
        """Download rows and these cameras of a source that is not here, while other workers convert other episodes."""
        if self.plan.episode.repository is not None:
            with self.clock.stage("download"):
                self.plan.episode.fetch(cameras)

    def _fetch_images(self, ranges: tuple[RowRange, ...]) -> None:
        """Download image files, whose names are known only from the rows."""
        episode = self.plan.episode
        if episode.repository is not None:
            with self.clock.stage("download"):
                used = [camera for camera in self.binding.cameras.values() if camera in episode.clips]
                fetch_images({camera: _find_clip(episode, camera, ranges) for camera in used}, episode.repository)

    def _read(self) -> tuple[tuple[RowRange, ...], pa.Table]:
        """The source's rows, and where they were found."""
        episode, binding = self.plan.episode, self.binding
        task = [] if binding.tasks is None else [binding.task_column]
        with self.clock.stage("read rows"):
            columns = [*binding.state.columns, *binding.action.columns, *task]
            carried = [column.name for column in self.job.carried]
            try:
                ranges, table = self.reader.read(episode, columns, optional=[FRAME_INDEX, TIMESTAMP, *carried])
            except RowsError as error:
                if error.code is not FaultCode.TOO_LARGE or not carried:
                    raise
                advice = Remedy("or do without columns beside state and action, ", Setting("without_columns", carried))
                raise RowsError(error, "; ", advice, code=error.code).about(error.facts) from error
        self.rows = ranges[0]
        return ranges, table

    def _trim(self, ranges: tuple[RowRange, ...], table: pa.Table) -> pa.Table:
        """The rows that there are frames of, checked."""
        episode, binding = self.plan.episode, self.binding
        where = ", ".join(map(str, ranges))
        if not episode.num_frames <= len(table) <= episode.num_frames + episode.max_spare:
            advice = length_advice(len(table), episode.num_frames)
            message = f"{len(table)} rows in {where}, but the metadata says {episode.num_frames}; "
            raise RowsError(
                message,
                advice,
                code=FaultCode.ROW_COUNT,
                got=len(table),
                expected=episode.num_frames,
            )
        trimmed = episode.trimmed
        if len(table) > episode.num_frames:
            trimmed = trimmed or f"cut to {episode.num_frames} frames: the rows are {len(table)}"
            table = table.slice(0, episode.num_frames)
        if trimmed is not None:
            self.warnings.append(EpisodeWarning(code="trimmed", message=trimmed))
        _check_order(table, where)
        self.warnings += row_warnings(table, binding.rate, where=where)
        return table

    def _unplanned_files(self, ranges: tuple[RowRange, ...]) -> tuple[SourceFile, ...]:
        """Files of rows whose state the plan lacks; files of a repository are known by its commit."""
        planned = self.plan.episode.paths
        found = dict.fromkeys(rows.path for rows in ranges if rows.path not in planned)
        if self.plan.episode.repository is not None:
            return ()
        states = ((path.relative_to(self.binding.root), FileState.read(path)) for path in found)
        return tuple(SourceFile(path=path, num_bytes=at.num_bytes, mtime_ns=at.mtime_ns) for path, at in states)

    def _make_rows(self, ranges: tuple[RowRange, ...], table: pa.Table, whole: pa.Table) -> EpisodeRows:
        """Keep the chosen frames and map their joints; whole: with what was trimmed, of which events count."""
        plan, binding = self.plan, self.binding
        where = ", ".join(map(str, ranges))
        with self.clock.stage("map joints"):
            used = binding.map.state.gather, binding.map.action.gather
            state, action = (
                gather_joints(table, wanted, joints, where)
                for wanted, joints in zip((binding.state, binding.action), used, strict=True)
            )
            kinds = binding.map.source.layout("action").action_kinds
            self._check_limits(state, action)
            self._check_jumps(state)
            if binding.filter is not None:
                check_motion(state, action, binding.filter, binding.fps)
            action = shift_rows(action, binding.action_shift)
            self._cut(state, action)
            choice, frames = self.choice, self.choice.frames
            action = resample_actions(action[choice.kept], choice.chosen, kinds, held=self._choose_actions())
            state, action = binding.map.apply(state[frames], action)
            cameras = {source: target for target, source in list(binding.cameras.items())[::-1]}
            source = SourceRows(whole, frames, where, binding.fps, binding.subtasks, cameras)
            others = {one.name: carry_numbers(source, one) for one in self.job.carried if one.is_number}
            wordy = [one for one in self.job.carried if not one.is_number]
            texts, lost = carry_texts(source, wordy, self.job.video.fps)
            self.warnings += (*lost, *lost_values(source, self.job.carried))
        return EpisodeRows(
            episode_index=plan.index,
            first_index=plan.first_index,
            timestamp=(np.arange(len(frames)) / float(self.job.video.fps)).astype(np.float32),
            state=state,
            action=action,
            task_index=_task_index(table, plan, binding, where)[frames],
            others=others,
            texts=texts,
        )

    def _choose_frames(self) -> FrameChoice:
        return choose_frames(
            self.plan.episode.num_frames,
            self.cuts,
            source_fps=self.binding.fps,
            target_fps=self.job.video.fps,
            resampler=self.job.resample,
        )

    def _choose_actions(self) -> NDArray[np.int64]:
        """Places among the frames that are not cut of the actions that the output has, (T',)."""
        return action_indices(
            len(self.choice.kept),
            source_fps=self.binding.fps,
            target_fps=self.job.video.fps,
            resampler=self.job.resample,
            rule=self.job.action,
        )

    def _cut(self, state: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """Leave out the still stretches that the recipe does not want; action: shifted as it wants."""
        if (rules := self.binding.cuts) is not None:
            rows = rows_with_actions(len(state), self.binding.action_shift)
            found = cut_episode(state[rows], action[rows], rules, self.binding.fps)
            self.cuts = join_cuts(self.cuts, found, start=rows.start)
            self.choice = self._choose_frames()
            check_left(self.choice)

    def _check_limits(self, state: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        """Warn of values beyond the source robot's limits; they are converted anyway."""
        mapping = self.binding.map
        for vector, values, joint_map in zip(VECTORS, (state, action), (mapping.state, mapping.action), strict=True):
            for message in warn_beyond(vector, values, joint_map, mapping.source.layout(vector).joints):
                self.warnings.append(EpisodeWarning(code="beyond-limits", message=message))

    def _check_jumps(self, state: NDArray[np.float32]) -> None:
        """Warn of jumps in the used joints of the state; actions are not checked, as steps may jump."""
        joints = self.binding.map.source.layout("state").joints
        used = np.unique(self.binding.map.state.gather)
        for code, message in check_jumps(state[:, used], [joints[place] for place in used.tolist()]):
            self.warnings.append(EpisodeWarning(code=code, message=message))

    def _write_rows(self, rows: EpisodeRows) -> None:
        unfinished = self.unfinished.with_suffix(".rows")
        with self.clock.stage("write rows"):
            write_rows(unfinished, rows)
            self.stats |= {name: summarize_columns(values) for name, values in rows.columns().items()}
        with self.clock.stage(self.finished.stage):
            self.files.append(self.finished.accept(unfinished, self.paths.data))

    def _write_clip(self, camera: str, source_camera: str | None, ranges: tuple[RowRange, ...]) -> None:
        """source_camera: None where the source has none, and the clip is black."""
        source = ClipSource(
            clip=None if source_camera is None else _find_clip(self.plan.episode, source_camera, ranges),
            frames=self.choice.frames,
            root=self.binding.root,
            episode=self.plan.episode.index,
            camera=source_camera or camera,
            rate=self.binding.rate,
            digests=self.digests,
            size=None if source_camera is None else self.binding.sizes.get(source_camera),
        )
        unfinished = self.unfinished.with_suffix(f".{camera}")
        made = write_clip(source, unfinished, self.job.for_camera(camera), self.clock)
        with self.clock.stage(self.finished.stage):
            self.files.append(self.finished.accept(unfinished, self.paths.video(camera), digest=made.digest))
        self.stats[camera_key(camera)] = made.stats
        if made.levels is not None:
            self.levels[camera] = pack_levels(made.levels)
        if made.is_copied:
            self.copied.append(camera)
        if made.redone is not None:
            self.redone[camera] = made.redone
        self.warnings += (warned.model_copy(update={"camera": source.camera}) for warned in made.warnings)


def _describe_error(error: Exception) -> str:
    is_named = isinstance(error, (MillraceError, OSError))
    if fault_code(error) is FaultCode.MEMORY:
        return f"memory ran out, or {error}" if is_named else f"memory ran out, {type(error).__name__}: {error}"
    return Message(error) if is_named else f"internal error, {type(error).__name__}: {error}"


def _check_order(table: pa.Table, where: str) -> None:
    """Check that frame_index, where rows have it, increases from row to row."""
    if FRAME_INDEX not in table.column_names:
        return
    numbers = read_integers(table, FRAME_INDEX, where=where)
    back = np.flatnonzero(np.diff(numbers) <= 0)
    if len(back):
        row = int(back[0]) + 1
        before, after = numbers[row - 1 : row + 1].tolist()
        raise RowsError(
            f"frame_index goes from {before} to {after} in row {row} of {where}: the rows are not in order",
            code=FaultCode.ROW_ORDER,
            got=after,
            expected=f"more than {before}",
        )


def _task_index(table: pa.Table, plan: EpisodePlan, binding: Binding, where: str) -> NDArray[np.int64]:
    """The output's task index of every source row, (T,)."""
    if binding.tasks is None:
        return np.full(len(table), plan.task_index, dtype=np.int64)
    if binding.texts is None:
        numbers = read_integers(table, binding.task_column, where=where)
    else:
        numbers = np.array([binding.texts.get(text, -1) for text in row_instructions(table, binding.task_column)])
    theirs, inverse = np.unique(numbers, return_inverse=True)
    unknown = [index for index in theirs.tolist() if index not in binding.tasks]
    if unknown:
        raise RowsError(
            f"{binding.task_column} {unknown} in {where} names no task of the dataset's metadata, or an empty one",
            code=FaultCode.TASK,
            got=unknown,
        )
    ours = np.array([binding.tasks[index] for index in theirs.tolist()], dtype=np.int64)
    return ours[inverse]


def _find_clip(episode: SourceEpisode, camera: str, ranges: tuple[RowRange, ...]) -> Camera:
    """One camera's clip; images inside parquet files are where the rows were found."""
    if camera not in episode.clips:
        message = "this episode has no video of this camera"
        raise VideoError(message, code=FaultCode.MISSING, got=camera, known=tuple(episode.clips))
    return episode.clips[camera].with_rows(ranges)
