"""Thumbnails of a report: for some episodes, a strip of images of each camera, beside those of its source."""

import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import Message, MillraceError
from millrace.engine.inspection.clip_findings import locate_clip
from millrace.engine.inspection.inspect_rows import select_evenly
from millrace.engine.report.recordings import SourceRecording
from millrace.engine.sources import Camera, SourceDataset, SourceEpisode
from millrace.engine.video.jpeg import JpegImage, make_jpegs

NUM_IMAGES = 5  # of a strip
MAX_IMAGES = 120  # of a report: about 2 MB
MAX_EPISODES, MAX_CAMERAS = 6, 16
NUM_PIXELS = 384 * 288
MAX_BYTES = 5 << 19  # of all images, as data URIs


@dataclass(frozen=True)
class Thumbnail:
    """An image of a strip. source: a data URI. caption: which frame it is."""

    source: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Moment:
    """One instant of a clip. images: its frame, after that of the recording that it was made of, if one is shown."""

    images: tuple[Thumbnail, ...]

    @property
    def caption(self) -> str:
        """What its images are."""
        return " / ".join(image.caption for image in self.images)


@dataclass(frozen=True)
class Strip:
    """Images of one camera over one episode; why: it has none. note: about the recording's."""

    camera: str
    moments: tuple[Moment, ...]
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class ShownEpisode:
    """An episode as a report shows it. seconds: its length. recording: what it was made of, in words."""

    index: int
    seconds: float
    tasks: tuple[str, ...]
    strips: tuple[Strip, ...]
    recording: str = ""


def choose_shown(
    episodes: Sequence[SourceEpisode], remarkable: Sequence[int], *, num_cameras: int, has_recordings: bool = False
) -> list[SourceEpisode]:
    """The episodes to show: a few that findings are about, the others evenly spaced.

    Args:
        episodes: Of the dataset.
        remarkable: Numbers of episodes that findings are about, the worst first.
        num_cameras: Cameras of the dataset.
        has_recordings: Whether frames of recordings are shown beside them.
    """
    num_images = NUM_IMAGES * (1 + has_recordings) * max(1, min(num_cameras, MAX_CAMERAS))
    limit = max(1, min(MAX_EPISODES, MAX_IMAGES // num_images))
    by_index = {episode.index: episode for episode in episodes}
    wanted = [by_index[index] for index in dict.fromkeys(remarkable) if index in by_index][: limit // 2]
    rest = [episode for episode in episodes if all(episode is not one for one in wanted)]
    shown = [*wanted, *select_evenly(rest, limit - len(wanted))]
    return sorted(shown, key=lambda episode: episode.index)


def show_episodes(
    dataset: SourceDataset,
    episodes: Sequence[SourceEpisode],
    write: Callable[[str], str],
    recordings: Mapping[int, SourceRecording] = MappingProxyType({}),
) -> list[ShownEpisode]:
    """Each episode with a strip of images for each of its cameras.

    Args:
        dataset: The dataset.
        episodes: Those of it to show.
        write: Makes a message fit for the page.
        recordings: Of a new dataset, what episodes were made of, by number.
    """
    cameras = dataset.cameras[:MAX_CAMERAS]
    places = [(episode, camera) for episode in episodes for camera in cameras]

    def show(place: tuple[SourceEpisode, str]) -> Strip:
        return make_strip(*place, fps=float(dataset.fps), write=write, recording=recordings.get(place[0].index))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        strips = list(pool.map(show, places))
    shown: list[ShownEpisode] = []
    num_bytes = 0
    for number, episode in enumerate(episodes):
        own = tuple(strips[number * len(cameras) : (number + 1) * len(cameras)])
        num_bytes += sum(len(image.source) for strip in own for moment in strip.moments for image in moment.images)
        if shown and num_bytes > MAX_BYTES:
            break
        recording = recordings.get(episode.index)
        made_of = "" if recording is None else str(recording)
        seconds = float(episode.num_frames / dataset.fps)
        shown.append(ShownEpisode(episode.index, seconds, episode.tasks, own, made_of))
    return shown


def make_strip(
    episode: SourceEpisode,
    camera: str,
    *,
    fps: float,
    write: Callable[[str], str],
    recording: SourceRecording | None = None,
) -> Strip:
    """Evenly spaced images of one camera; a clip that cannot be decoded has none, and says why."""
    clip = episode.clips.get(camera)
    if clip is None:
        return Strip(camera, (), "this episode has no video of the camera")
    indices = np.unique(np.linspace(0, clip.num_frames - 1, NUM_IMAGES).round().astype(np.int64))
    try:
        images = _decode(episode, clip, indices, f"episode {episode.index}, {camera}", fps)
    except (MillraceError, OSError) as error:
        return Strip(camera, (), write(Message(error)))
    before, note = ([], "") if recording is None else _show_recording(recording, camera, indices, write)
    pairs = zip(before, images, strict=True) if len(before) == len(images) else ((image,) for image in images)
    return Strip(camera, tuple(map(Moment, pairs)), note=note)


def _show_recording(
    recording: SourceRecording, camera: str, indices: NDArray[np.int64], write: Callable[[str], str]
) -> tuple[list[Thumbnail], str]:
    """The frames of a recording that a camera's frames were made of, and a note on them; none where none is here."""
    found = recording.find_clip(camera)
    if found is None:
        return [], "the source has no such camera: its frames are black"
    name, clip = found
    if recording.episode.repository is not None and not all(path.exists() for path in clip.paths):
        return [], "the source's video is not on this machine"
    if indices[-1] >= len(recording.frames):
        return [], "which frames of the source these are cannot be told"
    try:
        frames, fps = recording.frames[indices], float(recording.binding.fps)
        return _decode(
            recording.episode, clip, frames, f"source {name}", fps
        ), f"above: {name} of the source; below: this dataset"
    except (MillraceError, OSError) as error:
        return [], f"the source's video cannot be shown: {write(Message(error))}"


def _decode(
    episode: SourceEpisode, clip: Camera, indices: NDArray[np.int64], where: str, fps: float
) -> list[Thumbnail]:
    images = make_jpegs(locate_clip(episode, clip), indices, num_pixels=NUM_PIXELS)
    return [_show(image, where, fps) for image in images]


def _show(image: JpegImage, where: str, fps: float) -> Thumbnail:
    caption = f"{where}, frame {image.index}, {image.index / fps:.2f} s"
    source = f"data:image/jpeg;base64,{b64encode(image.content).decode()}"
    return Thumbnail(source, image.width, image.height, caption)
