"""All the work on one episode: its plan becomes its files and a record. Free of Ray."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embodiments.errors import MillraceError
from engine.binding import Binding, JointColumns
from engine.clock import StageClock
from engine.errors import EpisodeError, FrameCountMismatch, RowsError, VideoError
from engine.layout import EpisodePaths, camera_key
from engine.plan import EpisodePlan, Job, chosen_frames
from engine.record import EpisodeFailure, EpisodeRecord, EpisodeResult, FileRecord
from engine.rows import EpisodeRows, integers, locate_rows, read_episode, vectors, write_rows
from engine.sources.episode import Clip, ImageColumn, RowRange, SourceEpisode
from engine.stats import Summary, summarize
from engine.video.decode import decode_clip
from engine.video.encode import VideoSettings, write_h264
from engine.video.histogram import RgbHistogram, sampled
from engine.video.probe import probe_video
from engine.video.reframe import Reframer

# Enough for image statistics, which only LeRobot reads; ten milliseconds an episode.
NUM_SAMPLED_FRAMES = 8


def convert_episode(plan: EpisodePlan, job: Job, out: Path, scratch: Path) -> EpisodeResult:
    """Convert one episode into `out`; what is wrong with its data becomes an EpisodeFailure.

    Args:
        plan: The episode.
        job: What all episodes share.
        out: The dataset's folder.
        scratch: A folder on the same file system, for files that are not finished.
    """
    try:
        return _convert(plan, job, out, scratch)
    except EpisodeError as error:
        cause = error.__cause__
        return EpisodeFailure(
            index=plan.index,
            binding=plan.binding,
            source_episode=error.episode,
            camera=error.camera,
            code=type(cause).__name__,
            reason=error.reason,
        )


def _convert(plan: EpisodePlan, job: Job, out: Path, scratch: Path) -> EpisodeRecord:
    clock = StageClock()
    binding = job.bindings[plan.binding]
    frames = chosen_frames(plan.episode, binding.fps, job.video.fps, job.resample)
    paths = EpisodePaths(plan.index, job.chunks_size)
    try:
        with clock.stage("read rows"):
            ranges = locate_rows(plan.episode)
        rows = _make_rows(ranges, plan, binding, frames, job, clock)
        unfinished = scratch / f"{plan.index}.rows"
        with clock.stage("write rows"):
            write_rows(unfinished, rows)
            files = [_finish(unfinished, out, paths.data)]
            stats = {name: summarize(values) for name, values in rows.columns().items()}
    except (MillraceError, OSError) as error:
        raise EpisodeError(plan.episode.index, None, str(error)) from error
    for camera, source_camera in binding.cameras.items():
        try:
            unfinished = scratch / f"{plan.index}.{camera}"
            clip = _clip(plan.episode, source_camera, ranges)
            stats[camera_key(camera)] = _make_clip(unfinished, clip, frames, job, clock)
            with clock.stage("digest"):
                files.append(_finish(unfinished, out, paths.video(camera)))
        except (MillraceError, OSError) as error:
            raise EpisodeError(plan.episode.index, source_camera, str(error)) from error
    return EpisodeRecord(
        index=plan.index,
        plan=plan.digest,
        binding=plan.binding,
        source_episode=plan.episode.index,
        num_source_frames=plan.episode.num_frames,
        num_frames=plan.num_frames,
        tasks=tuple(dict.fromkeys(rows.task_index.tolist())),
        files=tuple(files),
        stats=stats,
        seconds=clock.seconds,
    )


def _make_rows(
    ranges: tuple[RowRange, ...],
    plan: EpisodePlan,
    binding: Binding,
    frames: NDArray[np.int64],
    job: Job,
    clock: StageClock,
) -> EpisodeRows:
    """Read the source rows, keep the chosen frames and map their joints."""
    names = [*binding.state.columns, *binding.action.columns, *(["task_index"] if binding.tasks is not None else [])]
    with clock.stage("read rows"):
        table = read_episode(ranges, list(dict.fromkeys(names)))
        where = ", ".join(map(str, ranges))
        if len(table) != plan.episode.num_frames:
            raise RowsError(f"{len(table)} rows in {where}, but the metadata says {plan.episode.num_frames}")
        source_state = _joints(table, binding.state, where)[frames]
        source_action = _joints(table, binding.action, where)[frames]
    with clock.stage("map joints"):
        state, action = binding.map.apply(source_state, source_action)
    return EpisodeRows(
        episode_index=plan.index,
        first_index=plan.first_index,
        timestamp=(np.arange(len(frames)) / float(job.video.fps)).astype(np.float32),
        state=state,
        action=action,
        task_index=_task_index(table, plan, binding, where)[frames],
    )


def _joints(table: pa.Table, wanted: JointColumns, where: str) -> NDArray[np.float32]:
    """The robot's joints in its own order, (T, D)."""
    parts = [vectors(table, column, where=where) for column in wanted.columns]
    for column, part, width in zip(wanted.columns, parts, wanted.widths, strict=True):
        if part.shape[1] != width:
            raise RowsError(
                f"column '{column}' holds {part.shape[1]} values a row in {where}, but the metadata says {width}"
            )
    return np.concatenate(parts, axis=1)[:, wanted.gather]


def _task_index(table: pa.Table, plan: EpisodePlan, binding: Binding, where: str) -> NDArray[np.int64]:
    """The output's task index of every source row, (T,)."""
    if binding.tasks is None:
        return np.full(len(table), plan.task_index, dtype=np.int64)
    theirs, inverse = np.unique(integers(table, "task_index", where=where), return_inverse=True)
    unknown = [index for index in theirs.tolist() if index not in binding.tasks]
    if unknown:
        raise RowsError(f"task_index {unknown} in {where} names no task of the dataset's metadata")
    ours = np.array([binding.tasks[index] for index in theirs.tolist()], dtype=np.int64)
    return ours[inverse]


def _clip(episode: SourceEpisode, camera: str, ranges: tuple[RowRange, ...]) -> Clip | ImageColumn:
    """One camera's clip; pictures in the rows lie where the rows were found."""
    if camera not in episode.clips:
        raise VideoError("this episode has no video of this camera")
    clip = episode.clips[camera]
    return replace(clip, rows=ranges) if isinstance(clip, ImageColumn) else clip


def _make_clip(path: Path, clip: Clip | ImageColumn, frames: NDArray[np.int64], job: Job, clock: StageClock) -> Summary:
    """Decode, reframe and encode one camera's clip into `path`, and check what was written."""
    histogram = RgbHistogram()
    reframe = Reframer(crop=job.crop, image_size=job.video.image_size)
    decoded = clock.iterate("decode", decode_clip(clip, frames))
    reframed = clock.iterate("crop and scale", map(reframe, decoded))
    counted = clock.iterate(
        "image statistics", sampled(reframed, histogram, every=-(-len(frames) // NUM_SAMPLED_FRAMES))
    )
    with clock.stage("encode"):
        write_h264(path, counted, job.video)
    with clock.stage("probe"):
        _check_written(path, len(frames), job.video)
    return histogram.summary()


def _check_written(path: Path, num_frames: int, settings: VideoSettings) -> None:
    """The written file is what the dataset will promise."""
    facts = probe_video(path)
    size = settings.image_size
    expected = ("h264", "yuv420p", size, size, num_frames, 0, True, False)
    found = (
        facts.codec,
        facts.pix_fmt,
        facts.width,
        facts.height,
        facts.num_frames,
        facts.first_pts,
        facts.is_constant_rate,
        facts.has_b_frames,
    )
    if found != expected or facts.fps not in (settings.fps, None):
        raise FrameCountMismatch(f"wrote {facts.describe()}, expected {num_frames} frames at {settings.fps} fps")


def _finish(unfinished: Path, out: Path, relative: Path) -> FileRecord:
    """Move a complete file to its place; no reader ever sees half of it."""
    digest = hashlib.sha256()
    with unfinished.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        os.fsync(file.fileno())
    num_bytes = unfinished.stat().st_size
    final = out / relative
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished.replace(final)
    return FileRecord(path=relative, num_bytes=num_bytes, sha256=digest.hexdigest())
