"""Draw a contact sheet of a dataset."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import MillraceError
from millrace.engine.errors import RecipeError
from millrace.engine.inspection.clip_findings import locate_clip
from millrace.engine.inspection.inspect_dataset import fetch_episodes, select_inspected
from millrace.engine.sources import Camera, SourceEpisode, open_source, why_unwritable
from millrace.engine.video.contact_sheet import write_contact_sheet


@dataclass(frozen=True)
class ContactSheet:
    """What a contact sheet shows: a block for each episode, in it a row of images for each camera."""

    episodes: tuple[int, ...]
    cameras: tuple[str, ...]


def make_contact_sheet(
    path: str | Path,
    out_png: str | Path,
    *,
    episodes: str | None = None,
    max_episodes: int = 6,
    num_images: int = 8,
    follow_links: bool = False,
    format: str | None = None,
    fps: Fraction | None = None,
) -> ContactSheet:
    """Write a PNG of images of all cameras, evenly spaced over a few episodes, for a first look at a dataset.

    Clips that cannot be decoded are dark red.

    Args:
        path: Folder of the dataset, in any layout.
        out_png: Where to write; its folder exists.
        episodes: Of these episodes only: "0:40", or "3,5,10:20".
        max_episodes: Episodes to show, evenly spaced.
        num_images: Images in a row.
        follow_links, format, fps: See `open_source`.

    Raises:
        MillraceError: the dataset cannot be opened, has no camera or the file cannot be written.
    """
    dataset = open_source(path, follow_links=follow_links, format=format, fps=fps)
    shown = select_inspected(dataset, episodes, max_episodes=max_episodes)
    fetch_episodes(shown, frozenset(), lambda num_done, num_all: None)
    if not dataset.cameras or not shown:
        raise RecipeError(f"{dataset.address} has no {'camera' if shown else 'episode'} to show on a contact sheet")
    rows = [[find_clip(episode, camera) for camera in dataset.cameras] for episode in shown]
    try:
        write_contact_sheet(Path(out_png), rows, num_images=num_images)
    except OSError as error:
        raise RecipeError(f"{out_png} ", why_unwritable(Path(out_png), error), file=Path(out_png)) from error
    return ContactSheet(tuple(episode.index for episode in shown), dataset.cameras)


def find_clip(episode: SourceEpisode, camera: str) -> Camera | None:
    """A camera's clip at its actual place; None where there is none."""
    clip = episode.clips.get(camera)
    try:
        return None if clip is None else locate_clip(episode, clip)
    except MillraceError:
        return None
