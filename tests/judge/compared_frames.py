"""Hold the frames that LeRobot looks up by time against those that are decoded one after another."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Levels of 0 to 255, on average of an image: ways from YUV to RGB differ in rounding, and in how they spread colours.
TOLERANCE = 3.0
# Differences of images that count as equally large.
TIE = 0.05


class WrongFrame(Exception):
    """A frame is none of the clip's, or its neighbour; the message says by how much."""


class FrameComparison:
    """Compares a camera's frames in their order.

    Each must look like the frame of its number, and no more like the one before or after. Of these neighbours
    the comparison keeps one: that of frame n with n - 1, and of frame n - 1 with n.
    """

    def __init__(self, frames: Iterator[NDArray[np.uint8]]) -> None:
        self._frames = frames
        self._before: tuple[NDArray[np.int16], NDArray[np.int16], float] | None = None
        self.largest = 0.0

    def compare(self, image: NDArray[np.float32]) -> None:
        """Compare the next frame, (3, H, W) in [0, 1].

        Raises:
            WrongFrame: it is another one, or there is none.
        """
        stored = next(self._frames, None)
        if stored is None:
            raise WrongFrame("the files hold fewer frames")
        due, found = stored.astype(np.int16), np.round(image.transpose(1, 2, 0) * 255).astype(np.int16)
        if due.shape != found.shape:
            raise WrongFrame(f"{found.shape}, but the file's frames are {due.shape}")
        own = _difference(found, due)
        self.largest = max(self.largest, own)
        if own > TOLERANCE:
            raise WrongFrame(f"differs by {own:.2f} levels of 255 on average, more than {TOLERANCE}")
        if self._before is not None:
            due_before, found_before, own_before = self._before
            if _difference(found, due_before) < own - TIE:
                raise WrongFrame("looks more like the frame before")
            if _difference(found_before, due) < own_before - TIE:
                raise WrongFrame("is what LeRobot took for the frame before")
        self._before = due, found, own

    def finish(self) -> None:
        """Check that no frame is left.

        Raises:
            WrongFrame: there is one.
        """
        if next(self._frames, None) is not None:
            raise WrongFrame("the files hold more frames")


def _difference(image: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Mean absolute difference of two images, in levels."""
    return float(np.abs(image - other).mean())
