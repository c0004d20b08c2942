"""Frames or rows too many at the end of episodes, dropped where the user says how many may be."""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from millrace.embodiments import MillraceError, Remedy, Setting
from millrace.engine.errors import FaultCode, RecipeError
from millrace.engine.sources import Camera, SourceEpisode
from millrace.engine.sources.parquet import count_rows
from millrace.engine.video.thumbnails import read_video_header

METADATA, ROWS = "the metadata", "the rows"
COUNTS = (FaultCode.ROW_COUNT, FaultCode.FRAME_COUNT)


def trim_episodes(
    episodes: Sequence[SourceEpisode], cameras: Collection[str], *, max_trim: int
) -> tuple[SourceEpisode, ...]:
    """The episodes, each as long as the shortest of its rows and clips where these differ by at most `max_trim`.

    Headers of videos and footers of rows are read; what they say wrongly fails the episode when it is converted.

    Args:
        episodes: Of one source.
        cameras: Of the source, those that are used.
        max_trim: Frames or rows that may be dropped at the end of each.

    Raises:
        RecipeError: the source is on the Hub, where that would download all of it.
    """
    if max_trim == 0:
        return tuple(episodes)
    if any(episode.repository is not None for episode in episodes):
        raise RecipeError(
            Setting("trim_mismatch"),
            " looks into every video: ",
            Remedy("download the dataset first, and name its folder"),
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(partial(_trim, cameras=frozenset(cameras), max_trim=max_trim), episodes))


def _trim(episode: SourceEpisode, *, cameras: Collection[str], max_trim: int) -> SourceEpisode:
    """What is too long by more stays as it is, and fails when it is converted."""
    counts = _counts(episode, cameras)
    shortest = min(counts.values())
    is_within = shortest > 0 and max(counts.values()) - shortest <= max_trim
    num_frames = shortest if is_within else episode.num_frames
    clips = dict(episode.clips)
    for camera, clip in clips.items():
        if camera in cameras:
            # Of a video that does not say how many frames it holds none may be dropped: nothing could be said of them.
            is_counted = clip.video is None or _frames_of(camera) in counts
            clips[camera] = clip.trim(num_frames, max_spare=max_trim if is_counted else 0)
    explained = is_within and max(counts.values()) > shortest
    told = f"cut to {shortest} frames: " + ", ".join(f"{name} {number}" for name, number in counts.items())
    return replace(
        episode,
        num_frames=num_frames,
        clips=clips,
        max_spare=max_trim,
        trimmed=told if explained else None,
        faults=tuple(fault for fault in episode.faults if not (is_within and fault.code in COUNTS)),
    )


def _frames_of(camera: str) -> str:
    return f"frames of '{camera}'"


def _counts(episode: SourceEpisode, cameras: Collection[str]) -> dict[str, int]:
    """How long an episode is by each that tells: its metadata, its rows, its clips."""
    counts = {METADATA: episode.num_frames, **episode.lengths}
    if (num_rows := _num_rows(episode)) is not None:
        counts[ROWS] = num_rows
    for camera in sorted(cameras):
        clip = episode.clips.get(camera)
        number = None if clip is None else _num_frames(clip)
        if number:
            counts[_frames_of(camera)] = number
    return counts


def _num_rows(episode: SourceEpisode) -> int | None:
    """Rows of files of its own; of shared ones those that carry its number are counted as it is converted."""
    paths = [rows.path for rows in episode.rows if rows.stop is None]
    if len(paths) != len(episode.rows):
        return None
    try:
        counts = list(count_rows(paths).values())
    except MillraceError:
        return None
    # What cannot be read fails the episode when it is converted.
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if len(numbers) == len(counts) else None


def _num_frames(clip: Camera) -> int | None:
    if (video := clip.video) is None:
        return clip.num_stored
    if video.start_seconds is not None:
        seconds = None if video.stop_seconds is None else video.stop_seconds - video.start_seconds
        return None if seconds is None else round(seconds * float(video.fps))
    try:
        return read_video_header(video).num_frames
    except (MillraceError, OSError):
        return None
