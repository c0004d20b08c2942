"""The preview of a finished dataset: a strip of its frames, which the card shows."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from millrace.engine.layout import EpisodePaths
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.plan import EpisodePlan
from millrace.engine.sources import Clip
from millrace.engine.video.contact_sheet import Image, draw_contact_sheet
from millrace.engine.video.jpeg import encode_jpeg

NUM_EPISODES, NUM_IMAGES, MAX_CAMERAS = 3, 3, 6
IMAGE_HEIGHT = 96
MAX_BYTES = 100_000
# The first that makes it small enough: the scale, libav's quality from 2 (best) to 31. The last one always does.
TRIES = ((1, 5), (1, 12), (1, 31), (2, 12), (4, 31))


def make_preview(plan: ConversionPlan, out: Path) -> bytes | None:
    """A JPEG file of at most MAX_BYTES: the first, middle and last frame of three episodes, a row for each camera.

    Frames that cannot be read become dark red: nothing but people needs them.

    Args:
        plan: The dataset's plan; its episodes are converted.
        out: The dataset's folder.

    Returns:
        The file; None where the dataset has no camera.
    """
    if not plan.cameras:
        return None
    shown = [plan.episodes[number] for number in shown_episodes(plan)]
    blocks = [[_find_clip(plan, out, one, camera) for camera in plan.cameras[:MAX_CAMERAS]] for one in shown]
    return compress_sheet(draw_contact_sheet(blocks, num_images=NUM_IMAGES, height=IMAGE_HEIGHT, axis=1))


def shown_episodes(plan: ConversionPlan) -> list[int]:
    """Numbers of the episodes that are shown."""
    last, num_shown = len(plan.episodes) - 1, min(NUM_EPISODES, len(plan.episodes))
    numbers: list[int] = np.unique(np.linspace(0, last, num_shown).round().astype(np.int64)).tolist()
    return numbers


def _find_clip(plan: ConversionPlan, out: Path, episode: EpisodePlan, camera: str) -> Clip:
    path = out / EpisodePaths(episode.index, plan.job.chunks_size).video(camera)
    return Clip(path, episode.num_frames, Fraction(plan.job.video.fps))


def compress_sheet(sheet: Image) -> bytes:
    """A sheet of images as a JPEG file of at most MAX_BYTES, smaller or coarser where that is needed."""
    content = b""
    for scale, quality in TRIES:
        content = encode_jpeg(sheet, quality=quality, scale=scale)
        if len(content) <= MAX_BYTES:
            break
    return content
