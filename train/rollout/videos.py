"""Videos of rollouts: one of each episode, and a grid of all."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.rgb_video import write_rgb_video
from millrace.train.rollout.driving import EpisodeTrace
from millrace.train.rollout.simulated_robot import Image

# A border around each episode of the grid tells how it ended, in pixels and RGB.
BORDER = 4
SUCCESS, FAILURE = (46, 165, 67), (205, 60, 55)
ENDINGS = {True: "success", False: "failure"}
MAX_TILES = 64


class RolloutVideos:
    """Writes `episode_N_success.mp4` or `episode_N_failure.mp4` as episodes end, and `grid.mp4` at the end.

    Of each episode in the grid, the first MAX_TILES, it holds the images at half size; of others none.

    Args:
        folder: Made where it is missing; videos of the same episodes in it are replaced.
        fps: Images a second.
    """

    def __init__(self, folder: Path, fps: Fraction) -> None:
        self._folder, self._fps = folder, fps
        self._tiles: list[NDArray[np.uint8]] = []

    def add(self, trace: EpisodeTrace) -> None:
        """Write the video of an episode, whose images are (H, W, 3), all of one even size."""
        self._folder.mkdir(parents=True, exist_ok=True)
        height, width, _ = trace.images[0].shape
        paths = {done: self._folder / f"episode_{trace.outcome.episode}_{name}.mp4" for done, name in ENDINGS.items()}
        paths[not trace.outcome.is_success].unlink(missing_ok=True)
        settings = VideoSettings(self._fps, FrameSize(width, height))
        write_rgb_video(paths[trace.outcome.is_success], iter(trace.images), settings)
        if len(self._tiles) < MAX_TILES:
            color = SUCCESS if trace.outcome.is_success else FAILURE
            self._tiles.append(np.stack([_tile(image, color) for image in trace.images]))

    def write_grid(self) -> Path:
        """Write the grid of all episodes; returns its path."""
        grid = self._folder / "grid.mp4"
        columns = math.ceil(math.sqrt(len(self._tiles)))
        rows = math.ceil(len(self._tiles) / columns)
        _, height, width, _ = self._tiles[0].shape
        settings = VideoSettings(self._fps, FrameSize(columns * width, rows * height))
        write_rgb_video(grid, _grid_frames(self._tiles, columns, rows), settings)
        return grid


def _grid_frames(episodes: Sequence[NDArray[np.uint8]], columns: int, rows: int) -> Iterator[Image]:
    """Frames of all episodes side by side; one that is over stays at its last frame."""
    for number in range(max(map(len, episodes))):
        tiles = [images[min(number, len(images) - 1)] for images in episodes]
        tiles += [np.zeros_like(tiles[0])] * (columns * rows - len(tiles))
        lines = (tiles[row * columns : (row + 1) * columns] for row in range(rows))
        yield np.concatenate([np.concatenate(line, axis=1) for line in lines])


def _tile(image: Image, color: tuple[int, int, int]) -> Image:
    """An image at half size, with a border."""
    height, width = image.shape[0] // 4 * 4, image.shape[1] // 4 * 4  # H.264 needs even sides
    halves = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    tile = np.empty((height // 2 + 2 * BORDER, width // 2 + 2 * BORDER, 3), dtype=np.uint8)
    tile[:] = color
    tile[BORDER:-BORDER, BORDER:-BORDER] = halves
    return tile
