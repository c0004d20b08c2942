"""Write one camera's clip of an output episode: copied where possible, else encoded, or black."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset import ColumnSummary, EpisodeWarning
from millrace.engine.dataset.camera_levels import Levels, are_of_clip, sampled_frames
from millrace.engine.dataset.data_checks import SourceRate, is_same_rate, median_rate
from millrace.engine.dataset.file_digests import FileDigests
from millrace.engine.dataset.manifest_clips import ClipStatistics, read_manifest_clips
from millrace.engine.dataset.record import hash_file
from millrace.engine.episode.encode_clip import check_written, encode_clip
from millrace.engine.episode.stage_clock import StageClock
from millrace.engine.errors import FaultCode, VideoError, error_chain, system_errno
from millrace.engine.fps import format_fps
from millrace.engine.planning import Job
from millrace.engine.sources import Camera, Clip
from millrace.engine.video.copy import ClipCopy, choose_copy, copy_clip
from millrace.engine.video.decode import decode_clip, frame_seconds
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.histogram import RgbHistogram, feed_histogram
from millrace.engine.video.stream_facts import read_stream_facts

# Fewer frames do not show a rate.
MIN_TIMED_FRAMES = 3


@dataclass(frozen=True, eq=False)
class ClipSource:
    """Where an output clip comes from.

    clip: None for black frames. frames: those that are kept, (T',), increasing. root, episode, camera: the
    source's own, by which a manifest lists the clip. rate: of the episode's rows. digests: of the run's sources.
    size: width and height of its frames as info.json says, where it does.
    """

    clip: Camera | None
    frames: NDArray[np.int64]
    root: Path
    episode: int
    camera: str
    rate: SourceRate
    digests: FileDigests
    size: tuple[int, int] | None = None

    @property
    def video(self) -> Clip | None:
        """The clip where it is a video."""
        return None if self.clip is None else self.clip.video


@dataclass(frozen=True, eq=False)
class WrittenClip:
    """A written clip.

    stats: LeRobot's. levels: counts of its levels; None where only its statistics are known. digest: the file's
    SHA-256, where that was needed. redone, warnings: see `EncodedClip`.
    """

    stats: ColumnSummary
    levels: Levels | None
    is_copied: bool
    digest: str | None = None
    redone: str | None = None
    warnings: tuple[EpisodeWarning, ...] = ()


def write_clip(source: ClipSource, path: Path, job: Job, clock: StageClock) -> WrittenClip:
    """Write an output clip to `path` and check it; job: with the settings of its camera.

    Raises:
        VideoError: the source is missing or corrupt, or does not match its rows.
    """
    if (copied := _try_copy(source, path, job.video, clock)) is not None:
        return copied
    encoded = encode_clip(source.clip, source.frames, path, job, clock)
    warnings = (*_check_rate(source, encoded.mean_fps), *_check_size(source), *encoded.warnings)
    return WrittenClip(encoded.stats, encoded.levels, is_copied=False, redone=encoded.redone, warnings=warnings)


def _check_size(source: ClipSource) -> Iterator[EpisodeWarning]:
    """Warn if a video's frames have another size than info.json says; they are converted anyway."""
    if source.size is None or source.video is None:
        return
    found = read_stream_facts(source.video).size
    if found != source.size:
        message = f"frames of {found[0]}x{found[1]}, but info.json says {source.size[0]}x{source.size[1]}"
        yield EpisodeWarning(code="video-size", message=message)


def _check_rate(source: ClipSource, mean_fps: Fraction | None) -> Iterator[EpisodeWarning]:
    """Check that a video plays at the rate of its rows; single late frames do not change its median step.

    Raises:
        VideoError: it plays at another rate, and the user does not say which is right.
    """
    clip, fps = source.video, source.rate.fps
    if clip is None or mean_fps is None or clip.num_frames < MIN_TIMED_FRAMES:
        return
    if is_same_rate(mean_fps, fps):
        return
    found = median_rate(frame_seconds(clip))
    if found is None:
        return
    if is_same_rate(found, fps):
        yield EpisodeWarning(
            code="video-gap", message=f"{clip.path} plays at {float(mean_fps):.4g} fps on average, not {fps}"
        )
        return
    message = f"{clip.path} plays at {found:.4g} fps, not {format_fps(fps)}"
    if not source.rate.is_sure:
        raise VideoError(
            f"{message} as info.json says. ",
            source.rate.advice(found),
            code=FaultCode.RATE,
            file=clip.path,
            got=found,
            expected=fps,
        )
    yield EpisodeWarning(code="video-fps", message=message)


def _try_copy(source: ClipSource, path: Path, settings: VideoSettings, clock: StageClock) -> WrittenClip | None:
    """Copy the clip if it has the output's format; None where it must be encoded, or the copy proves damaged."""
    with clock.stage("probe"):
        how = _choose_copy(source, settings)
    if how is None or source.video is None:
        return None
    with clock.stage("copy"):
        copy_clip(source.video, path, how, settings)
        digest = hash_file(path) if how is ClipCopy.FILE else None
        known = _known_statistics(source, settings, digest)
    try:
        if known is None or how is not ClipCopy.FILE:
            check_written(path, len(source.frames), settings, clock)
        if known is None:
            copy = replace(source.video, path=path, start_seconds=None, root=None)
            known = _measure_statistics(copy, source.frames, clock)
        return WrittenClip(known.summary, known.levels, is_copied=True, digest=digest)
    except VideoError as error:  # encoding decodes the source itself, and tells what is wrong with it
        if any(system_errno(cause) is not None for cause in error_chain(error)):  # a later try may succeed
            raise
        return None


def _choose_copy(source: ClipSource, settings: VideoSettings) -> ClipCopy | None:
    """None also where frames are dropped, or the source is no video."""
    clip = source.video
    if clip is None or len(source.frames) != clip.num_frames:
        return None
    return choose_copy(clip, settings)


def _known_statistics(source: ClipSource, settings: VideoSettings, digest: str | None) -> ClipStatistics | None:
    """Statistics of this file in the manifest of the dataset that Millrace wrote it to; digest: of its copy."""
    published = read_manifest_clips(source.root, source.digests)
    if published is None or source.video is None:
        return None
    known = published.find(source.episode, source.camera, source.video, digest)
    if known is None or known.levels is None or are_of_clip(known.levels, len(source.frames), *settings.size):
        return known
    return replace(known, levels=None)


def _measure_statistics(clip: Clip, frames: NDArray[np.int64], clock: StageClock) -> ClipStatistics:
    """Decode the whole copy, which proves that it can be decoded, and count some of its frames."""
    histogram = RgbHistogram()
    decoded = clock.iterate("decode", decode_clip(clip, frames))
    step = sampled_frames(len(frames)).step
    deque(clock.iterate("image statistics", feed_histogram(decoded, histogram, every=step)), maxlen=0)
    return ClipStatistics(histogram.summary(), histogram.counts)
