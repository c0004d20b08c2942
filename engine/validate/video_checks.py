"""One episode's videos against info.json and the episode's length."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from millrace.engine.dataset.json_files import why_no_file
from millrace.engine.dataset.metadata import INFO, Episode, GrootFeature, Metadata
from millrace.engine.dataset.problems import Problem
from millrace.engine.dataset.releases import RELEASES, VideoBackend
from millrace.engine.errors import VideoError
from millrace.engine.sources import Clip, why_foreign
from millrace.engine.sources.parquet import is_hidden
from millrace.engine.validate.listed_files import find_files
from millrace.engine.validate.row_checks import RATE_TOLERANCE
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.probe import VideoFacts, probe_video
from millrace.engine.video.thumbnails import info_image_size

CODEC, PIXELS = "h264", "yuv420p"
# What decoders cannot read is the same in all releases.
UNREAD_CODECS = RELEASES[0].unread_codecs
# Two ticks of the coarsest time base in use, Matroska's.
SPAN_TOLERANCE_SECONDS = 2e-3
# PyAV gives an unknown codec no context, and refuses container tags that are no UTF-8.
UNREADABLE = (VideoError, OSError)


def orphan_video_problems(metadata: Metadata) -> Iterator[Problem]:
    """Videos that no episode and camera of info.json names."""
    if metadata.info.video_path is None or why_foreign(metadata.root / "videos", metadata.root):
        return
    cameras = [name for name, feature in metadata.info.features.items() if feature.is_video]
    known = {str(metadata.video_path(index, camera)) for index in metadata.indices.tolist() for camera in cameras}
    for path in find_files(metadata.root / "videos", ".mp4"):
        relative = path.relative_to(metadata.root)
        if str(relative) not in known and not is_hidden(relative):
            yield Problem.of("video-orphan", relative, "belongs to no episode and camera; nothing reads it")


def video_problems(
    metadata: Metadata, episode: Episode, *, deep: bool, video_backend: VideoBackend | None
) -> Iterator[Problem]:
    """Everything about one episode's videos; packets are read, and decoded too where deep."""
    for camera in metadata.cameras:
        path = metadata.video_path(episode.index, camera)
        if reason := why_no_file(metadata.root, path):
            yield Problem.of("video-missing", path, f"{reason}; episode {episode.index} needs it")
            continue
        try:
            facts = probe_video(metadata.root / path)
        except UNREADABLE as error:
            yield Problem.of("video-unreadable", path, _without_path(error, metadata.root / path))
            continue
        yield from _codec_problems(facts, path, video_backend)
        yield from _size_problems(facts, metadata.info.features[camera], path)
        yield from _time_problems(facts, metadata.info.fps, episode, path)
        if deep:
            yield from _decode_problems(facts, metadata, path)


def _codec_problems(facts: VideoFacts, path: Path, backend: VideoBackend | None) -> Iterator[Problem]:
    """A codec that some decoders cannot read; an error where one of these is asked for, no matter where another is."""
    if backend is not None:
        if facts.codec in UNREAD_CODECS[backend]:
            yield Problem.of("video-decoder", path, f"is {facts.codec}, which {backend} cannot read")
    elif facts.codec != CODEC:
        default = next(iter(UNREAD_CODECS))
        unable = [name for name, codecs in UNREAD_CODECS.items() if facts.codec in codecs]
        others = f"{', '.join(unable)} cannot" if unable else "not every decoder does"
        message = f"is {facts.codec}: GR00T's default decoder, {default}, reads it, {others}"
        yield Problem.of("video-codec", path, message)
    if facts.pix_fmt != PIXELS:
        yield Problem.of("video-pixels", path, f"is {facts.pix_fmt}, expected {PIXELS}, which every decoder reads")


def _size_problems(facts: VideoFacts, feature: GrootFeature, path: Path) -> Iterator[Problem]:
    if facts.is_turned:
        yield Problem.of("video-turned", path, "has a display matrix that turns its frames; some decoders ignore it")
    said = info_image_size(feature.shape, feature.names)
    if said not in (None, (facts.height, facts.width)):
        found = f"{facts.height}x{facts.width} (height x width)"
        yield Problem.of("video-size", path, f"is {found}, but the shape in {INFO} is {list(feature.shape)}")


def _time_problems(facts: VideoFacts, fps: Fraction, episode: Episode, path: Path) -> Iterator[Problem]:
    if facts.num_frames != episode.length:
        message = f"{facts.num_frames} frames, but episode {episode.index} has {episode.length} rows"
        yield Problem.of("video-frames", path, message)
    if not facts.is_constant_rate:
        yield Problem.of("video-constant-rate", path, "its frames are not equally far apart in time; encode it again")
    elif facts.fps is not None and not _is_same_rate(facts.fps, fps, facts.num_frames - 1):
        yield Problem.of("video-rate", path, f"plays at {float(facts.fps):g} fps, but {INFO} says {float(fps):g}")
    if facts.first_pts != 0:
        yield Problem.of("video-start", path, f"its first frame is shown {facts.first_pts} ticks after 0 s, expected 0")


def _decode_problems(facts: VideoFacts, metadata: Metadata, path: Path) -> Iterator[Problem]:
    clip = Clip(metadata.root / path, facts.num_frames, metadata.info.fps)
    try:
        for _ in decode_frames(clip, np.arange(facts.num_frames)):
            pass
    except UNREADABLE as error:
        yield Problem.of("video-decode", path, _without_path(error, clip.path))


def _is_same_rate(found: Fraction, said: Fraction, num_steps: int) -> bool:
    if abs(found - said) <= said * Fraction(RATE_TOLERANCE):
        return True
    return abs(num_steps / found - num_steps / said) <= SPAN_TOLERANCE_SECONDS


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path} ")
