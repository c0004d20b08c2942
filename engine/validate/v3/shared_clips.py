"""The episodes that share an mp4: whether each finds its own frames there, at the times that LeRobot asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset.data_checks import TOLERANCE_SECONDS, is_same_rate
from millrace.engine.dataset.json_files import why_no_file
from millrace.engine.dataset.metadata import INFO
from millrace.engine.dataset.problems import Problem
from millrace.engine.errors import VideoError
from millrace.engine.fps import format_fps
from millrace.engine.sources import Clip
from millrace.engine.validate.row_checks import RATE_TOLERANCE
from millrace.engine.validate.v3.row_place_checks import MAX_LINES
from millrace.engine.validate.v3.v3_dataset import Ints, V3Feature, V3Info, make_v3_problem
from millrace.engine.video.decode import decode_frames
from millrace.engine.video.probe import VideoFacts, probe_frame_times
from millrace.engine.video.thumbnails import info_image_size

# From here on neighbouring float32 numbers lie further apart than LeRobot's tolerance.
FLOAT32_SECONDS = 2.0**10
UNREADABLE = (VideoError, OSError)

Seconds = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VideoJob:
    """An mp4 and its n episodes. path: relative to the dataset. start, stop: seconds in it, (n,); lengths: frames."""

    camera: str
    path: Path
    numbers: Ints
    lengths: Ints
    start: Seconds
    stop: Seconds

    def problem(self, code: str, message: str, place: int | None = None) -> Problem:
        """A problem of the file, or of one of its episodes."""
        number = None if place is None else int(self.numbers[place])
        text = message if number is None else f"episode {number}: {message}"
        return make_v3_problem(code, self.path, text, episode=number, camera=self.camera)


def judge_videos(root: Path, info: V3Info, deep: bool, jobs: Sequence[VideoJob]) -> list[tuple[int, list[Problem]]]:
    """What is wrong with some mp4s, and how many episodes each has."""
    return [(len(job.numbers), list(_video_problems(root, info, deep, job))) for job in jobs]


def _video_problems(root: Path, info: V3Info, deep: bool, job: VideoJob) -> Iterator[Problem]:
    if reason := why_no_file(root, job.path):
        yield job.problem("video-missing", f"{reason}; {len(job.numbers)} episodes need it, such as {job.numbers[0]}")
        return
    try:
        facts, seconds = probe_frame_times(root / job.path)
    except UNREADABLE as error:
        yield job.problem("video-unreadable", str(error).removeprefix(f"{root / job.path} "))
        return
    is_other_rate = _is_other_rate(facts, info.fps)
    yield from _fact_problems(facts, info.features[job.camera], job, fps=None if is_other_rate else info.fps)
    if is_other_rate:
        message = f"plays at {format_fps(facts.fps or info.fps)} fps, but {INFO} says {format_fps(info.fps)}"
        yield job.problem("video-rate", message)
    else:
        yield from clip_problems(seconds, info.fps, job)
    if deep:
        try:
            clip = Clip(root / job.path, facts.num_frames, info.fps)
            for _ in decode_frames(clip, np.arange(facts.num_frames)):
                pass
        except UNREADABLE as error:
            yield job.problem("video-decode", str(error).removeprefix(f"{root / job.path} "))


def _is_other_rate(facts: VideoFacts, fps: Fraction) -> bool:
    """Whether a file plays at another rate; joined files may have lost or gained a frame's time at each join."""
    return facts.fps is not None and facts.num_frames > 2 and not is_same_rate(facts.fps, fps)


def _fact_problems(facts: VideoFacts, feature: V3Feature, job: VideoJob, *, fps: Fraction | None) -> Iterator[Problem]:
    """Compare a stream with its feature; fps: of the stream, None where that is told already."""
    if facts.is_turned:
        yield job.problem("video-turned", "has a display matrix that turns its frames; some decoders ignore it")
    found, said = (facts.height, facts.width), info_image_size(feature.shape, feature.names)
    if said not in (None, found):
        size = f"{found[0]}x{found[1]} (height x width)"
        yield job.problem("video-size", f"is {size}, but the shape in {INFO} is {list(feature.shape)}")
    stream: dict[str, Any] = {"codec": facts.codec, "pix_fmt": facts.pix_fmt, "height": found[0], "width": found[1]}
    told = feature.video_facts
    wrong = [
        f"{name} {value!r} where {INFO} says {told[f'video.{name}']!r}"
        for name, value in stream.items()
        if _is_other_fact(told.get(f"video.{name}"), value)
    ]
    said_rate = told.get("video.fps")
    if fps is not None and isinstance(said_rate, (int, float)) and not is_same_rate(said_rate or 0.0, fps):
        wrong.append(f"{format_fps(fps)} fps where {INFO} says {said_rate}")
    if wrong:
        yield job.problem("video-info", f"has {', '.join(wrong)}")


def _is_other_fact(said: object, found: object) -> bool:
    """Whether info.json says another value; null says none, and full range is no other format."""
    return said is not None and str(said).replace("yuvj", "yuv") != str(found)


def clip_problems(seconds: Seconds, fps: Fraction, job: VideoJob) -> Iterator[Problem]:
    """Compare the places of episodes with the times of a file's frames.

    Args:
        seconds: When each frame is shown, (M,), rising.
        fps: Of the dataset.
        job: The file and its episodes.
    """
    step = float(1 / fps)
    off_length = np.abs((job.stop - job.start) / step - job.lengths) > 0.5
    for place in np.flatnonzero(off_length)[:MAX_LINES].tolist():
        span = f"{job.start[place]:.6g} to {job.stop[place]:.6g} s"
        told = f"its clip is said to last from {span}, which is not the time of its {job.lengths[place]} frames"
        yield job.problem("video-length", told, place)
    first = _nearest(seconds, job.start)
    is_off = np.abs(seconds[first] - job.start) > step / 2
    is_past = first + job.lengths > len(seconds)
    for place in np.flatnonzero(is_off | is_past)[:MAX_LINES].tolist():
        begin = f"from_timestamp {job.start[place]:.6g} s"
        needed = f"its {job.lengths[place]} frames from {begin} on are not all in the file"
        told = f"no frame is shown at its {begin}" if is_off[place] else needed
        last = f"{len(seconds)} frames, the last at {seconds[-1]:.6g} s"
        yield job.problem("video-places", f"{told}: {last}", place)
    sound = np.flatnonzero(~(is_off | is_past))
    yield from _order_problems(first, sound, len(seconds), step, job, is_all=len(sound) == len(first))
    yield from _time_problems(seconds, first, sound, fps, job)


def _nearest(seconds: Seconds, wanted: Seconds) -> Ints:
    """The frame nearest in time to each wanted time."""
    after = np.clip(np.searchsorted(seconds, wanted), 1, max(len(seconds) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(seconds) - 1)
    nearer: Ints = np.where(wanted - seconds[before] <= seconds[after] - wanted, before, after).astype(np.int64)
    return nearer


def _order_problems(
    first: Ints, sound: Ints, num_frames: int, step: float, job: VideoJob, *, is_all: bool
) -> Iterator[Problem]:
    """Frames that two episodes have, or none; first: each episode's first frame, (n,)."""
    order = sound[np.argsort(first[sound], kind="stable")]
    begin, end = first[order], first[order] + job.lengths[order]
    reach = np.maximum.accumulate(end) if len(end) else end
    overlaps = np.flatnonzero(begin[1:] < reach[:-1]) + 1
    for place in overlaps[:MAX_LINES].tolist():
        other = job.numbers[order[int(np.argmax(end[:place]))]]
        shared = f"its frames from {begin[place] * step:.6g} s on are also those of episode {other}"
        yield job.problem("video-overlap", shared, int(order[place]))
    if len(overlaps) or not is_all:
        return
    gaps = np.concatenate([begin, [num_frames]]) - np.concatenate([[0], reach])
    if (gaps > 0).any():
        place = int(np.flatnonzero(gaps > 0)[0])
        where = "before its first episode" if place == 0 else f"after episode {job.numbers[order[place - 1]]}"
        yield job.problem("video-gap", f"{int(gaps[gaps > 0].sum())} frames belong to no episode, the first {where}")
    back = np.flatnonzero(np.diff(job.numbers[order]) < 0)
    if len(back):
        told = f"episode {job.numbers[order[back[0] + 1]]} lies after episode {job.numbers[order[back[0]]]}"
        yield job.problem("video-order", told)


def _time_problems(seconds: Seconds, first: Ints, sound: Ints, fps: Fraction, job: VideoJob) -> Iterator[Problem]:
    """Frames that LeRobot refuses, or that it takes for others, as it compares times: in float32."""
    num_refused = num_told = 0
    rate = float(_exact_rate(fps))
    for place in sound.tolist():
        due = np.arange(job.lengths[place]) / rate
        shown = seconds[first[place] : first[place] + job.lengths[place]]
        off = np.abs(shown - (job.start[place] + due))
        if (off >= TOLERANCE_SECONDS).any():
            if (num_told := num_told + 1) <= MAX_LINES:
                yield job.problem("video-drift", _describe_drift(off, shown), place)
            continue
        asked = (job.start[place] + due.astype(np.float32).astype(np.float64)).astype(np.float32)
        refused = np.abs(asked - shown.astype(np.float32)) >= np.float32(TOLERANCE_SECONDS)
        num_refused += int(refused.sum())
    if num_told > MAX_LINES:
        yield job.problem("video-drift", f"so have {num_told - MAX_LINES} more episodes")
    if seconds[-1] > FLOAT32_SECONDS or num_refused:
        told = f"is {seconds[-1]:.0f} s long; LeRobot refuses {num_refused} of its {len(seconds)} frames by default"
        yield job.problem("video-float32", told)


def _exact_rate(fps: Fraction) -> Fraction:
    """The rate that info.json means by few digits: 30000/1001 by 29.97."""
    broadcast = Fraction(round(fps * Fraction(1001, 1000)) * 1000, 1001)
    return broadcast if abs(fps - broadcast) <= fps * Fraction(RATE_TOLERANCE) else fps


def _describe_drift(off: Seconds, shown: Seconds) -> str:
    refused = off >= TOLERANCE_SECONDS
    row = int(np.argmax(refused))
    return (
        f"{int(refused.sum())} of its {len(off)} frames are not shown when their rows say, the first in row {row} "
        f"({shown[row]:.6g} s), by up to {float(off.max()) * 1e3:.3g} ms; LeRobot refuses from "
        f"{TOLERANCE_SECONDS * 1e3:g} ms on"
    )
