"""Inspect the videos of many episodes: headers of all of them, frames of a few."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import MillraceError
from millrace.engine.errors import VideoError
from millrace.engine.inspection.clip_findings import (
    Motion,
    Shot,
    frame_findings,
    has_even_rate,
    header_findings,
    sample_clip,
    time_findings,
)
from millrace.engine.inspection.episode_rows import RowChecks, read_values, scale_positions
from millrace.engine.inspection.facts import CameraFacts
from millrace.engine.inspection.findings import Finding
from millrace.engine.inspection.inspect_rows import select_evenly
from millrace.engine.inspection.shared_videos import shared_video_findings
from millrace.engine.sources import Clip, RowReader, SourceDataset, SourceEpisode, why_unreadable
from millrace.engine.video.thumbnails import Thumbnails, VideoHeader, measure_gop, read_video_header

MAX_WATCHED = 12

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class VideosResult:
    """What the videos showed."""

    cameras: tuple[CameraFacts, ...]
    num_watched: int
    findings: tuple[Finding, ...]


def inspect_videos(
    dataset: SourceDataset,
    episodes: Sequence[SourceEpisode],
    checks: RowChecks,
    *,
    missing: frozenset[Path],
    pixel_budget: float,
    on_progress: Callable[[int, int], None],
) -> VideosResult:
    """Open every video of the episodes and decode frames of some.

    Args:
        dataset: The dataset.
        episodes: Those of it to inspect.
        checks: How the robot's motion is read.
        missing: Videos that do not exist.
        pixel_budget: Pixels to decode in all.
        on_progress: Called after each clip with the number of sampled clips, and of all to sample.
    """
    shots = _shots(episodes, missing)
    headers = _read_headers(shots)
    readable = [shot for shot in shots if _header(shot, headers) is not None or shot.clip.video is None]
    findings = [*_header_findings(dataset, shots, headers), *shared_video_findings(dataset.files, readable)]
    cameras = {name: _camera_facts(name, readable, headers) for name in dataset.cameras}
    watched = select_evenly(episodes, _num_watched(readable, cameras, pixel_budget))
    motions = {episode.index: _motion(episode, checks) for episode in watched}
    todo = [shot for shot in readable if shot.episode.index in motions or _is_suspect(shot, headers)]
    looks = zip(todo, _in_parallel(partial(_sample, motions), todo), strict=True)
    for number, (shot, (indices, pictures)) in enumerate(looks, start=1):
        on_progress(number, len(todo))
        if isinstance(pictures, Finding):
            findings.append(pictures)
            continue
        if shot.episode.index not in motions:
            continue
        motion, header = motions[shot.episode.index], _header(shot, headers)
        findings += frame_findings(shot, indices, pictures, fps=dataset.fps, motion=motion)
        if header is not None and has_even_rate(header, dataset.fps):
            findings += time_findings(shot, indices, pictures, dataset.fps)
        if shot.clip.video is None:
            cameras[shot.camera] = CameraFacts(shot.camera, "image", pictures.pix_fmt, pictures.width, pictures.height)
    return VideosResult(tuple(cameras.values()), len(watched) if readable else 0, tuple(findings))


def _shots(episodes: Iterable[SourceEpisode], missing: frozenset[Path]) -> list[Shot]:
    """Every clip of the episodes whose video exists."""
    return [
        Shot(episode, camera, clip)
        for episode in episodes
        for camera, clip in episode.clips.items()
        if missing.isdisjoint(clip.paths)
    ]


def _sample(motions: Mapping[int, Motion | None], shot: Shot) -> tuple[NDArray[np.int64], Thumbnails | Finding]:
    """Sample the frames of a watched episode; a clip only suspected of a wrong length needs one."""
    return sample_clip(shot, num_samples=shot.num_samples if shot.episode.index in motions else 1)


def _read_headers(shots: Sequence[Shot]) -> dict[Path, VideoHeader | MillraceError]:
    """The header of each video file, or why it cannot be read."""
    clips = {video.path: video for shot in shots if (video := shot.clip.video) is not None}
    return dict(zip(clips, _in_parallel(_try_header, clips.values()), strict=True))


def _try_header(clip: Clip) -> VideoHeader | MillraceError:
    try:
        return read_video_header(clip)
    except MillraceError as error:
        return error
    except OSError as error:
        return VideoError(f"{clip.path} ", why_unreadable(clip.path, error))


def _header(shot: Shot, headers: Mapping[Path, VideoHeader | MillraceError]) -> VideoHeader | None:
    header = None if shot.clip.video is None else headers.get(shot.clip.video.path)
    return header if isinstance(header, VideoHeader) else None


def _header_findings(
    dataset: SourceDataset, shots: Sequence[Shot], headers: Mapping[Path, VideoHeader | MillraceError]
) -> Iterator[Finding]:
    """What the header of each file says, reported for the first episode in it."""
    first_shots = {shot.clip.video.path: shot for shot in reversed(shots) if shot.clip.video is not None}
    for path, header in headers.items():
        shot = first_shots[path]
        if isinstance(header, VideoHeader):
            feature = dataset.features[dataset.camera_features[shot.camera][0]]
            yield from header_findings(shot, header, feature, dataset.fps)
        else:
            yield shot.make_finding("unreadable-video", header.message)


def _is_suspect(shot: Shot, headers: Mapping[Path, VideoHeader | MillraceError]) -> bool:
    """Whether the header of a clip's own file counts other frames than the episode has; it may be wrong."""
    header = _header(shot, headers)
    is_whole = shot.clip.video is not None and shot.clip.video.start_seconds is None
    return header is not None and is_whole and header.num_frames not in (0, shot.clip.num_frames)


def _camera_facts(
    name: str, readable: Sequence[Shot], headers: Mapping[Path, VideoHeader | MillraceError]
) -> CameraFacts:
    """A camera as its first readable video is."""
    for shot in readable:
        header = _header(shot, headers)
        if shot.camera == name and header is not None and (video := shot.clip.video) is not None:
            return CameraFacts(
                name=name,
                codec=header.codec,
                pix_fmt=header.pix_fmt,
                width=header.width,
                height=header.height,
                fps=None if header.mean_fps is None else float(header.mean_fps),
                gop=_gop(video),
                color_range=header.color_range,
                bytes_per_frame=header.num_bytes / header.num_frames if header.num_frames else None,
            )
    return CameraFacts(name)


def _gop(clip: Clip) -> int | None:
    try:
        return measure_gop(clip)
    except (MillraceError, OSError):
        return None  # becomes a finding when its frames are sampled


def _num_watched(readable: Sequence[Shot], cameras: Mapping[str, CameraFacts], budget: float) -> int:
    """Episodes whose frames can be decoded for so many pixels: at least one, at most MAX_WATCHED."""
    num_episodes = len({shot.episode.index for shot in readable})
    pixels = sum(_num_decoded_pixels(shot, cameras[shot.camera]) for shot in readable)
    return max(1, min(MAX_WATCHED, int(budget * num_episodes / max(pixels, 1))))


def _num_decoded_pixels(shot: Shot, camera: CameraFacts) -> int:
    """Pixels to decode for a clip's samples: half a group of pictures for each, no frame twice."""
    num_frames = min(shot.clip.num_frames, shot.num_samples * ((camera.gop or 1) // 2 + 1))
    return num_frames * (camera.width or 0) * (camera.height or 0)


def _motion(episode: SourceEpisode, checks: RowChecks) -> Motion | None:
    try:
        shares = scale_positions(read_values(episode, checks.columns, RowReader())[0], checks)
    except MillraceError:
        return None
    return None if shares is None else Motion(shares, checks.motion_names)


def _in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items; libav works outside Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, items)
