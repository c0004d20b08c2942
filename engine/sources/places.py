"""Check the places of clips in videos that episodes share, before a frame is read.

A wrong place shows another episode's frames without any error of the decoder, so each clip must be as long as its
rows, and no two may claim the same frames of one file. Stretches that belong to no episode are no fault: they are
left where an episode was deleted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Facts, Message, Remedy, Setting
from millrace.engine.errors import FaultCode
from millrace.engine.fps import format_fps, parse_fps
from millrace.engine.sources.dataset import SourceDataset
from millrace.engine.sources.episode import Clip, SourceEpisode, SourceFault

# In frames; offsets drift a little, as they are sums of floats.
TOLERANCE = 0.5
# In Hz; below it, places are too short for a rate to be told from them.
MIN_RATE = 0.1


@dataclass(frozen=True, eq=False)
class _Places:
    """The clips of one camera that share files, sorted by file and start; N clips.

    episodes: places in the dataset's list, (N,). file: number of the file, (N,). start, stop: seconds in it, (N,),
    stop NaN where the metadata does not say. num_frames: (N,).
    """

    camera: str
    paths: tuple[Path, ...]
    episodes: NDArray[np.int64]
    file: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    num_frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.episodes)

    def errors(self, fps: Fraction) -> NDArray[np.float64]:
        """By how many frames each place is longer than its rows at that rate, (N,); 0 where nothing says."""
        return np.nan_to_num((self.stop - self.start) * float(fps) - self.num_frames, nan=0.0)


def check_places(dataset: SourceDataset, fps: Fraction | None = None, *, max_trim: int = 0) -> SourceDataset:
    """The dataset with its clips timed at a rate that their places agree with, and with what contradicts as faults.

    Args:
        dataset: As its layout was read, or as this function returned it.
        fps: The rate that the user says it has; None: info.json is right. Where the places agree with info.json and
            not with this, its videos were merely written at the wrong rate, and clips stay where they are.
        max_trim: By how many frames a clip may be longer or shorter than its rows.
    """
    rates = (dataset.fps,) if fps is None else (fps, dataset.fps)
    episodes = [_without_place_faults(episode) for episode in dataset.episodes]
    for places in _shared_places(episodes):
        wrong = _check_camera(episodes, places, rates, max_trim=max_trim)
        for number, fault in wrong.items():
            episodes[number] = replace(episodes[number], faults=(*episodes[number].faults, fault))
    return replace(dataset, episodes=episodes)


def place_notes(dataset: SourceDataset) -> Iterator[str]:
    """A line for each camera whose files have stretches that belong to no episode; ends of files are not known."""
    for places in _shared_places(dataset.episodes):
        ends = places.start + places.num_frames / float(dataset.fps)
        before = np.concatenate([[0.0], ends[:-1]])
        before[_is_first(places)] = 0.0
        gaps = np.flatnonzero((places.start - before) * float(dataset.fps) > TOLERANCE)
        if len(gaps):
            first = int(gaps[0])
            seconds = places.start[first] - before[first]
            episode = dataset.episodes[int(places.episodes[first])].index
            yield (
                f"{dataset.address}, camera '{places.camera}': {len(np.unique(places.file[gaps]))} of "
                f"{len(places.paths)} video files have frames that belong to no episode, such as {seconds:.2f} s "
                f"before episode {episode}; fine where episodes were deleted"
            )


def _without_place_faults(episode: SourceEpisode) -> SourceEpisode:
    if not episode.faults:
        return episode
    kept = tuple(fault for fault in episode.faults if fault.code is not FaultCode.PLACE)
    return episode if len(kept) == len(episode.faults) else replace(episode, faults=kept)


def _shared_places(episodes: Sequence[SourceEpisode]) -> Iterator[_Places]:
    """For each camera, of colour or depth, of which clips are parts of files."""
    found: dict[str, list[tuple[int, Clip]]] = {}
    for number, episode in enumerate(episodes):
        for clips in (episode.clips, episode.depth):
            for camera, clip in clips.items():
                if isinstance(clip, Clip) and clip.start_seconds is not None:
                    found.setdefault(camera, []).append((number, clip))
    for camera, placed in found.items():
        yield _sorted_places(camera, placed)


def _sorted_places(camera: str, clips: Sequence[tuple[int, Clip]]) -> _Places:
    numbers = {path: number for number, path in enumerate(dict.fromkeys(clip.path for _, clip in clips))}
    file = np.array([numbers[clip.path] for _, clip in clips], dtype=np.int64)
    start = np.array([clip.start_seconds for _, clip in clips], dtype=np.float64)
    stop = np.array([np.nan if clip.stop_seconds is None else clip.stop_seconds for _, clip in clips])
    order = np.lexsort((start, file))
    return _Places(
        camera=camera,
        paths=tuple(numbers),
        episodes=np.array([number for number, _ in clips], dtype=np.int64)[order],
        file=file[order],
        start=start[order],
        stop=stop[order],
        num_frames=np.array([clip.num_frames for _, clip in clips], dtype=np.int64)[order],
    )


def _check_camera(
    episodes: list[SourceEpisode], places: _Places, rates: Sequence[Fraction], *, max_trim: int
) -> dict[int, SourceFault]:
    """Sets the rate of each clip in `episodes`; returns why places are wrong, by place in the list."""
    fps = next((rate for rate in rates if not _is_too_long_or_short(places, rate).any()), rates[0])
    for number in places.episodes.tolist():
        episodes[number] = _retime(episodes[number], places.camera, fps)
    is_wrong = np.abs(places.errors(fps)) >= TOLERANCE + max_trim
    shorter = np.minimum(np.round(places.errors(fps)), 0).astype(np.int64) if max_trim else 0
    advice = _advice(places, is_wrong)
    faults = {int(places.episodes[k]): _length_fault(places, int(k), fps, advice) for k in np.flatnonzero(is_wrong)}
    for one, other in _overlaps(replace(places, num_frames=places.num_frames + shorter), ~is_wrong, fps):
        with_index = episodes[int(places.episodes[other])].index
        faults[int(places.episodes[one])] = _overlap_fault(places, one, other, with_index, fps)
    return faults


def _retime(episode: SourceEpisode, camera: str, fps: Fraction) -> SourceEpisode:
    """The episode with a camera's clip timed at that rate."""
    clip, depth = episode.clips.get(camera), episode.depth.get(camera)
    if depth is not None and depth.fps != fps:
        return replace(episode, depth={**episode.depth, camera: replace(depth, fps=fps)})
    if isinstance(clip, Clip) and clip.fps != fps:
        return replace(episode, clips={**episode.clips, camera: replace(clip, fps=fps)})
    return episode


def _is_too_long_or_short(places: _Places, fps: Fraction) -> NDArray[np.bool_]:
    return np.asarray(np.abs(places.errors(fps)) >= TOLERANCE)


def _overlaps(places: _Places, is_sound: NDArray[np.bool_], fps: Fraction) -> Iterator[tuple[int, int]]:
    """Clips that claim frames of another of the same file, and that other; nothing says which of them is right."""
    kept = np.flatnonzero(is_sound)
    if len(kept) < 2:
        return
    start, numbers = places.start[kept], np.arange(len(kept))
    stop = start + (places.num_frames[kept] - TOLERANCE) / float(fps)
    apart = places.file[kept] * (float(stop.max()) + 1.0)  # files follow each other, as if they were one
    start, stop = start + apart, stop + apart
    latest = np.maximum.accumulate(stop)
    holder = np.maximum.accumulate(np.where(stop == latest, numbers, 0))
    with_next = {int(k): int(k) + 1 for k in np.flatnonzero(start[1:] < stop[:-1])}
    with_earlier = {int(k) + 1: int(holder[k]) for k in np.flatnonzero(start[1:] < latest[:-1])}
    for one, other in {**with_earlier, **with_next}.items():
        yield int(kept[one]), int(kept[other])


def _is_first(places: _Places) -> NDArray[np.bool_]:
    """Whether a clip is the first of its file, (N,)."""
    is_first: NDArray[np.bool_] = np.concatenate([[True], places.file[1:] != places.file[:-1]])
    return is_first[: len(places)]


def _advice(places: _Places, is_wrong: NDArray[np.bool_]) -> str:
    """The rate at which all places that are wrong would be right, where there is one."""
    if is_wrong.sum() * 2 < max(len(places), 3):  # of a few, it is their places that are wrong
        return ""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = places.num_frames[is_wrong] / (places.stop - places.start)[is_wrong]
    middle = float(np.median(rates))
    if not MIN_RATE <= middle <= 10_000:
        return ""
    fps = next((rate for rate in (parse_fps(round(middle)) if middle >= 1 else None, parse_fps(middle)) if rate), None)
    if fps is None or _is_too_long_or_short(places, fps)[is_wrong].any():
        return ""
    rate = format_fps(fps)
    advice = Remedy("if that is the rate, pass ", Setting("source_fps", rate))
    return Message(f"; all such clips agree with {rate} Hz: ", advice)


def _length_fault(places: _Places, k: int, fps: Fraction, advice: str) -> SourceFault:
    start, stop, path = places.start[k], places.stop[k], places.paths[places.file[k]]
    num_frames = (stop - start) * float(fps)
    reason = (
        f"meta/episodes places its clip from {start:.3f} to {stop:.3f} s of {path}, which is "
        f"{num_frames:.1f} frames at {format_fps(fps)} Hz, but it has {places.num_frames[k]} rows"
    )
    facts = Facts(file=path, got=round(float(num_frames), 1), expected=int(places.num_frames[k]))
    return SourceFault(FaultCode.PLACE, Message(reason, advice), places.camera, facts)


def _overlap_fault(places: _Places, one: int, other: int, index: int, fps: Fraction) -> SourceFault:
    def seconds(k: int) -> str:
        return f"[{places.start[k]:.3f}, {places.start[k] + places.num_frames[k] / float(fps):.3f}) s"

    path = places.paths[places.file[one]]
    reason = (
        f"meta/episodes places its clip at {seconds(one)} of {path}, but that of episode {index} at {seconds(other)}: "
        "they claim the same frames, and nothing says whose these are"
    )
    return SourceFault(FaultCode.PLACE, reason, places.camera, Facts(file=path))
