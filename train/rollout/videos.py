"""Videos of rollouts: one of each episode, and a grid of all."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.rgb_video import write_rgb_video
from millrace.train.rollout.driving import EpisodeTrace
from millrace.train.rollout.simulated_robot import Image

# A border around each episode of the grid tells how it ended, in pixels and RGB.
BORDER = 4
SUCCESS, FAILURE = (46, 165, 67), (205, 60, 55)
MAX_TILES = 64


def write_videos(folder: Path, traces: Sequence[EpisodeTrace], fps: Fraction) -> Path:
    """Write `episode_N_success.mp4` or `episode_N_failure.mp4` of each episode, and `grid.mp4`; returns its path.

    Args:
        folder: Made where it is missing.
        traces: Episodes with images, each (H, W, 3), all of one even size.
        fps: Images a second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width, _ = traces[0].images[0].shape
    for trace in traces:
        ending = "success" if trace.outcome.is_success else "failure"
        path = folder / f"episode_{trace.outcome.episode}_{ending}.mp4"
        write_rgb_video(path, iter(trace.images), VideoSettings(fps, FrameSize(width, height)))
    grid = folder / "grid.mp4"
    shown = traces[:MAX_TILES]
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    size = FrameSize(columns * (width // 2 + 2 * BORDER), rows * (height // 2 + 2 * BORDER))
    write_rgb_video(grid, _grid_frames(shown, columns, rows), VideoSettings(fps, size))
    return grid


def _grid_frames(traces: Sequence[EpisodeTrace], columns: int, rows: int) -> Iterator[Image]:
    """Frames of all episodes side by side at half size; one that is over stays at its last frame."""
    for number in range(max(len(trace.images) for trace in traces)):
        tiles = [_tile(trace, number) for trace in traces]
        blank = np.zeros_like(tiles[0])
        tiles += [blank] * (columns * rows - len(tiles))
        lines = (tiles[row * columns : (row + 1) * columns] for row in range(rows))
        yield np.concatenate([np.concatenate(line, axis=1) for line in lines])


def _tile(trace: EpisodeTrace, number: int) -> Image:
    image = trace.images[min(number, len(trace.images) - 1)]
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    halves = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    color = SUCCESS if trace.outcome.is_success else FAILURE
    tile = np.empty((height // 2 + 2 * BORDER, width // 2 + 2 * BORDER, 3), dtype=np.uint8)
    tile[:] = color
    tile[BORDER:-BORDER, BORDER:-BORDER] = halves
    return tile
