"""Thumbnails of a report: for some episodes, a strip of images of each camera."""

import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from millrace.embodiments import Message, MillraceError
from millrace.engine.inspection.clip_findings import locate_clip
from millrace.engine.inspection.inspect_rows import select_evenly
from millrace.engine.sources import SourceDataset, SourceEpisode
from millrace.engine.video.jpeg import JpegImage, make_jpegs

NUM_IMAGES = 5  # of a strip
MAX_IMAGES = 120  # of a report: about 2 MB
MAX_EPISODES, MAX_CAMERAS = 6, 16
NUM_PIXELS = 384 * 288
MAX_BYTES = 3 << 20  # of all images, as data URIs


@dataclass(frozen=True)
class Thumbnail:
    """An image of a strip. source: a data URI. caption: which frame it is."""

    source: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Strip:
    """Images of one camera over one episode; why: it has none."""

    camera: str
    images: tuple[Thumbnail, ...]
    why: str = ""


@dataclass(frozen=True)
class ShownEpisode:
    """An episode as a report shows it. seconds: its length."""

    index: int
    seconds: float
    tasks: tuple[str, ...]
    strips: tuple[Strip, ...]


def choose_shown(
    episodes: Sequence[SourceEpisode], remarkable: Sequence[int], *, num_cameras: int
) -> list[SourceEpisode]:
    """The episodes to show: a few that findings are about, the others evenly spaced.

    Args:
        episodes: Of the dataset.
        remarkable: Numbers of episodes that findings are about, the worst first.
        num_cameras: Cameras of the dataset.
    """
    limit = max(1, min(MAX_EPISODES, MAX_IMAGES // (NUM_IMAGES * max(1, min(num_cameras, MAX_CAMERAS)))))
    by_index = {episode.index: episode for episode in episodes}
    wanted = [by_index[index] for index in dict.fromkeys(remarkable) if index in by_index][: limit // 2]
    rest = [episode for episode in episodes if all(episode is not one for one in wanted)]
    shown = [*wanted, *select_evenly(rest, limit - len(wanted))]
    return sorted(shown, key=lambda episode: episode.index)


def show_episodes(
    dataset: SourceDataset, episodes: Sequence[SourceEpisode], write: Callable[[str], str]
) -> list[ShownEpisode]:
    """Each episode with a strip of images for each of its cameras; write: makes a message fit for the page."""
    cameras = dataset.cameras[:MAX_CAMERAS]
    places = [(episode, camera) for episode in episodes for camera in cameras]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        strips = list(pool.map(lambda place: make_strip(*place, fps=float(dataset.fps), write=write), places))
    shown: list[ShownEpisode] = []
    num_bytes = 0
    for number, episode in enumerate(episodes):
        own = tuple(strips[number * len(cameras) : (number + 1) * len(cameras)])
        num_bytes += sum(len(image.source) for strip in own for image in strip.images)
        if shown and num_bytes > MAX_BYTES:
            break
        seconds = float(episode.num_frames / dataset.fps)
        shown.append(ShownEpisode(episode.index, seconds, episode.tasks, own))
    return shown


def make_strip(episode: SourceEpisode, camera: str, *, fps: float, write: Callable[[str], str]) -> Strip:
    """Evenly spaced images of one camera; a clip that cannot be decoded has none, and says why."""
    clip = episode.clips.get(camera)
    if clip is None:
        return Strip(camera, (), "this episode has no video of the camera")
    indices = np.unique(np.linspace(0, clip.num_frames - 1, NUM_IMAGES).round().astype(np.int64))
    try:
        images = make_jpegs(locate_clip(episode, clip), indices, num_pixels=NUM_PIXELS)
    except (MillraceError, OSError) as error:
        return Strip(camera, (), write(Message(error)))
    return Strip(camera, tuple(_show(image, episode.index, camera, fps) for image in images))


def _show(image: JpegImage, episode: int, camera: str, fps: float) -> Thumbnail:
    caption = f"episode {episode}, {camera}, frame {image.index}, {image.index / fps:.2f} s"
    source = f"data:image/jpeg;base64,{b64encode(image.content).decode()}"
    return Thumbnail(source, image.width, image.height, caption)
