"""Colour statistics of a few frames, as LeRobot keeps them for each camera."""

from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from millrace.engine.dataset import ColumnSummary
from millrace.engine.video.reframe import filter_graph

# Of the pixels that are counted, every how many are compared with the frame before.
GRID = 4
LEVELS = np.arange(256) / 255


class RgbHistogram:
    """Counts of each level of each channel, shape (3, 256).

    largest_change: of any level at the same place from one counted frame to the next, in a sparse grid of places.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((3, len(LEVELS)), dtype=np.int64)
        self.num_frames = 0
        self.largest_change = 0
        self._seen: NDArray[np.int16] | None = None
        self._graph: Graph | None = None

    def add(self, frame: av.VideoFrame) -> None:
        """Count every other pixel of every other row of a YUV 4:2:0 frame, on the host or a card."""
        if frame.format.name != "yuv420p":  # NV12 for NVENC
            frame = frame.reformat(format="yuv420p")
        if self._graph is None:
            self._graph = _rgb_graph(frame)
        self._graph.vpush(frame)
        image = self._graph.vpull().to_ndarray()
        for channel, counts in enumerate(self.counts):
            counts += np.bincount(image[..., channel].ravel(), minlength=len(LEVELS))
        self.num_frames += 1
        seen = image[::GRID, ::GRID, 1].astype(np.int16)
        if self._seen is not None:
            self.largest_change = max(self.largest_change, int(np.abs(seen - self._seen).max(initial=0)))
        self._seen = seen

    def mean_level(self) -> float:
        """Mean of all channels, 0 black to 1 white."""
        return float((self.counts / self.counts.sum(axis=1, keepdims=True) @ LEVELS).mean())

    def summary(self) -> ColumnSummary:
        """min, max, mean and std of each channel, levels scaled to 0..1; each shape (3, 1, 1)."""
        weights = self.counts / self.counts.sum(axis=1, keepdims=True)
        mean = weights @ LEVELS
        std = np.sqrt(np.maximum(weights @ LEVELS**2 - mean**2, 0))
        lows = [LEVELS[np.flatnonzero(channel)[0]] for channel in self.counts]
        highs = [LEVELS[np.flatnonzero(channel)[-1]] for channel in self.counts]
        low, high, middle, spread = (np.reshape(values, (3, 1, 1)).tolist() for values in (lows, highs, mean, std))
        return ColumnSummary(min=low, max=high, mean=middle, std=spread, count=[self.num_frames])


def feed_histogram(frames: Iterable[av.VideoFrame], histogram: RgbHistogram, *, every: int) -> Iterator[av.VideoFrame]:
    """Yield the frames; on the way add each `every`-th, from the first on, to the histogram."""
    for number, frame in enumerate(frames):
        if number % every == 0:
            histogram.add(frame)
        yield frame


def _rgb_graph(frame: av.VideoFrame) -> Graph:
    """yuv420p to RGB of half the width and height, pixels picked and not mixed; the same numbers on every machine."""
    source = f"video_size={frame.width}x{frame.height}:pix_fmt=yuv420p:time_base=1/1000"
    return filter_graph(
        [
            ("buffer", f"{source}:colorspace={frame.colorspace:d}:range={frame.color_range:d}"),
            ("scale", "ceil(iw/2):ceil(ih/2):flags=neighbor+accurate_rnd+bitexact"),
            ("format", "rgb24"),
            ("buffersink", None),
        ]
    )
