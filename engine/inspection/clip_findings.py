"""Findings about single clips: headers, black or frozen frames, frame times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Message, MillraceError
from millrace.engine.dataset.data_checks import is_same_rate
from millrace.engine.errors import FrameCountMismatch
from millrace.engine.inspection.findings import Finding, make_finding
from millrace.engine.inspection.motion import Floats, true_runs
from millrace.engine.sources import Camera, Feature, RowReader, SourceEpisode
from millrace.engine.video.levels import BLACK_LEVEL, STILL_LEVELS
from millrace.engine.video.thumbnails import Thumbnails, VideoHeader, info_image_size, make_thumbnails

FREEZE_SECONDS = 1.0
# The share of its range that a joint must move for frames to have to change.
MOVED_SHARE = 0.2

SAMPLES_PER_SECOND = 2
MIN_SAMPLES, MAX_SAMPLES = 24, 96


@dataclass(frozen=True)
class Shot:
    """One camera's clip of one episode."""

    episode: SourceEpisode
    camera: str
    clip: Camera

    @property
    def num_samples(self) -> int:
        """Frames to sample: enough that a freeze of a second shows, in an episode of usual length."""
        wanted = int(SAMPLES_PER_SECOND * self._seconds)
        return min(self.clip.num_frames, max(MIN_SAMPLES, min(wanted, MAX_SAMPLES)))

    @property
    def _seconds(self) -> float:
        return self.clip.num_frames / float(self.clip.video.fps) if self.clip.video is not None else 0.0

    def make_finding(self, code: str, message: str) -> Finding:
        """A finding about this clip."""
        path = None if self.clip.video is None else self.clip.video.path
        return make_finding(code, message, episode=self.episode.index, camera=self.camera, path=path)


@dataclass(frozen=True, eq=False)
class Motion:
    """An episode's joints, (T, D), in shares of their range, and their names."""

    positions: Floats
    names: Sequence[str]


def header_findings(shot: Shot, header: VideoHeader, feature: Feature, fps: Fraction) -> Iterator[Finding]:
    """Findings where a video's header differs from info.json."""
    size = info_image_size(feature.shape, feature.names)
    if size is not None and size != (header.height, header.width):
        height, width = size
        message = f"frames of {header.width}x{header.height}, but info.json says {width}x{height}"
        yield shot.make_finding("video-size", message)
    if header.is_turned:
        yield shot.make_finding(
            "turned-video", f"frames of {header.width}x{header.height} are turned by a display matrix"
        )
    if header.pixel_aspect != 1:
        yield shot.make_finding(
            "pixel-aspect", f"pixels of {header.pixel_aspect} of their height; they are made square"
        )
    mean = header.mean_fps
    if not mean or has_even_rate(header, fps):
        return
    if header.step_fps is not None and is_same_rate(header.step_fps, fps):
        seconds = header.num_frames / float(mean), header.num_frames / float(fps)
        yield shot.make_finding(
            "video-gap", f"{header.num_frames} frames take {seconds[0]:.2f} s, not {seconds[1]:.2f} s"
        )
    else:
        yield shot.make_finding("video-fps", f"plays at {float(mean):.4g} fps, but info.json says {float(fps):.4g}")


def has_even_rate(header: VideoHeader, fps: Fraction) -> bool:
    """Whether frames come at the dataset's rate, as far as a header tells."""
    return header.num_frames == 1 or (header.mean_fps is not None and is_same_rate(header.mean_fps, fps))


def sample_clip(shot: Shot, *, num_samples: int) -> tuple[NDArray[np.int64], Thumbnails | Finding]:
    """Indices of evenly spaced frames of a clip, and their thumbnails, or the finding that says why there are none."""
    indices = np.unique(np.linspace(0, shot.clip.num_frames - 1, num_samples).round().astype(np.int64))
    try:
        return indices, make_thumbnails(locate_clip(shot.episode, shot.clip), indices)
    except FrameCountMismatch as error:
        return indices, shot.make_finding("frame-count", error.message)
    except (MillraceError, OSError) as error:
        return indices, shot.make_finding("unreadable-video", Message(error))


def locate_clip(episode: SourceEpisode, clip: Camera) -> Camera:
    """The clip at its actual place: images inside rows lie where the rows are found.

    Raises:
        MillraceError: the episode's rows cannot be found.
    """
    if clip.video is not None:
        return clip
    ranges, _ = RowReader().read(episode, [])
    return clip.with_rows(ranges)


def frame_findings(
    shot: Shot, indices: NDArray[np.int64], thumbnails: Thumbnails, *, fps: Fraction, motion: Motion | None
) -> Iterator[Finding]:
    """Findings about black frames and frames that do not change.

    Args:
        shot: The clip.
        indices: Frames that were sampled, (n,).
        thumbnails: Of these frames, n.
        fps: The dataset's rate.
        motion: What the robot does meanwhile; None where that cannot be told.
    """
    is_black = np.asarray(thumbnails.grey.mean(axis=(1, 2)) < BLACK_LEVEL)
    if is_black.any():
        first, last = (indices[is_black][end] / float(fps) for end in (0, -1))
        yield shot.make_finding(
            "black-video",
            f"{is_black.sum()} of {len(indices)} sampled frames are black, from {first:.1f} to {last:.1f} s",
        )
    changes = np.abs(np.diff(thumbnails.grey.astype(np.int16), axis=0)).max(axis=(1, 2), initial=0)
    is_still = (changes <= STILL_LEVELS) & ~is_black[1:] & ~is_black[:-1]
    yield from _still_findings(shot, indices, is_still, fps, motion)


def _still_findings(
    shot: Shot, indices: NDArray[np.int64], is_still: NDArray[np.bool_], fps: Fraction, motion: Motion | None
) -> Iterator[Finding]:
    for start, stop in true_runs(is_still).tolist():  # pictures [start, stop] look alike
        first, last = int(indices[start]), int(indices[stop])
        seconds = (last - first) / float(fps)
        if stop - start < 2 or seconds < FREEZE_SECONDS:
            continue
        joint, share = ("nothing", 0.0) if motion is None else _most_moved(motion, first, last)
        span = f"stands still from {first / float(fps):.1f} to {last / float(fps):.1f} s"
        if share >= MOVED_SHARE:
            yield shot.make_finding("frozen-video", f"{span} while {joint} moves {share:.0%} of its way")
        elif stop - start == len(is_still):
            yield shot.make_finding("still-video", f"{span}, the whole episode")


def _most_moved(motion: Motion, first: int, last: int) -> tuple[str, float]:
    """The joint that goes furthest in frames [first, last], and its share."""
    positions = motion.positions[first : last + 1]
    if not len(positions):
        return "nothing", 0.0  # there are more frames than rows
    shares = np.ptp(positions, axis=0)
    return motion.names[int(np.argmax(shares))], float(shares.max())


def time_findings(shot: Shot, indices: NDArray[np.int64], thumbnails: Thumbnails, fps: Fraction) -> Iterator[Finding]:
    """Findings about frames that are not shown when they are due; for videos with `has_even_rate`."""
    shown = thumbnails.seconds - thumbnails.seconds[0]
    due = (indices - indices[0]) / float(fps)
    late = np.flatnonzero(np.abs(shown - due) > 0.5 / float(fps))
    if len(late) and not np.isnan(shown).any():
        frame, when, expected = indices[late[0]], shown[late[0]], due[late[0]]
        yield shot.make_finding("video-gap", f"frame {frame} is shown at {when:.3f} s, not at {expected:.3f} s")
