"""Statistics by LeRobot's own code, from the rows and frames that LeRobot itself read."""

from pathlib import Path
from typing import Any

import numpy as np
from camera_ranks import QUANTILES, Statistics, WrongStatistics, compare_ranks
from lerobot.datasets.compute_stats import compute_episode_stats, sample_images, sample_indices
from numpy.typing import NDArray
from PIL import Image

# LeRobot's histograms of a column; see its compute_stats.py.
NUM_BINS = 5000
# Of cameras four frames an episode are counted here, a hundred or more there: levels of 0 to 1.
CAMERA_TOLERANCE = {"mean": 0.05, "std": 0.05}


class SampledFrames:
    """The frames of an episode that LeRobot counts, as PNG files in a folder, which its code reads."""

    def __init__(self, folder: Path, num_frames: int) -> None:
        self.folder, self.num_frames = folder, num_frames
        self._wanted = set(sample_indices(num_frames))

    def add(self, number: int, camera: str, image: NDArray[np.float32]) -> None:
        """Keep a frame, (3, H, W) in [0, 1], if it is counted."""
        if number in self._wanted:
            path = self._path(camera, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(image.transpose(1, 2, 0) * 255).astype(np.uint8)).save(path, compress_level=1)

    def paths(self, camera: str) -> list[str]:
        """A path for each frame; the files of those that are not counted do not exist."""
        return [str(self._path(camera, number)) for number in range(self.num_frames)]

    def _path(self, camera: str, number: int) -> Path:
        return self.folder / camera / f"{number:06d}.png"


def compute(data: dict[str, Any], features: dict[str, Any]) -> dict[str, Statistics]:
    """LeRobot's statistics of columns, (T,) or (T, D), and of cameras, lists of paths."""
    columns = {key: values.astype(np.float64) for key, values in data.items() if isinstance(values, np.ndarray)}
    found: dict[str, Statistics] = compute_episode_stats(data | columns, features)
    return found


def compare_columns(stored: Statistics, due: Statistics, values: NDArray[Any]) -> None:
    """Compare the statistics of a column, (T,) or (T, D).

    LeRobot's quantiles are those of a histogram, and of ranks where ours are interpolated: both must lie within
    a rank, and a bin, of the true place.

    Raises:
        WrongStatistics: a number differs.
    """
    columns = values.reshape(len(values), -1).astype(np.float64)
    scale = np.maximum(np.abs(columns).max(axis=0), 1)
    for name in ("min", "max", "mean", "std"):
        _require_close(name, stored, due, 1e-5 * scale)
    if stored["count"].tolist() != [len(values)]:
        raise WrongStatistics(f"count {stored['count'].tolist()} of {len(values)} rows")
    ordered, bins = np.sort(columns, axis=0), (np.ptp(columns, axis=0) / NUM_BINS) + 1e-6 * scale
    for name in QUANTILES.keys() & due.keys():
        place = QUANTILES[name] * (len(ordered) - 1)
        low = ordered[max(int(np.floor(place)) - 1, 0)] - bins
        high = ordered[min(int(np.ceil(place)) + 1, len(ordered) - 1)] + bins
        for whose, found in (("stored", stored), ("LeRobot's", due)):
            number = np.ravel(found[name])
            if np.any(number < low) or np.any(number > high):
                raise WrongStatistics(f"{whose} {name} {number}, but the rows give {low} to {high}")


def compare_camera(stored: Statistics, due: Statistics, paths: list[str]) -> None:
    """Compare the statistics of a camera, of which fewer frames were counted than LeRobot does.

    paths: of an episode's frames, as `SampledFrames` has them.

    Raises:
        WrongStatistics: a number lies far from LeRobot's, or its shape is another.
    """
    for name in due.keys() - {"count"}:
        if stored[name].shape != (3, 1, 1) or stored[name].min() < 0 or stored[name].max() > 1:
            raise WrongStatistics(f"{name} is {stored[name].shape}, expected (3, 1, 1) in [0, 1]")
    for name, tolerance in CAMERA_TOLERANCE.items():
        _require_close(name, stored, due, np.full(3, tolerance))
    compare_ranks(stored, sample_images(paths))


def _require_close(name: str, stored: Statistics, due: Statistics, tolerance: NDArray[np.float64]) -> None:
    have, want = (np.ravel(found[name]).astype(np.float64) for found in (stored, due))
    if have.shape != want.shape or np.any(np.abs(have - want) > tolerance):
        raise WrongStatistics(f"{name} {have}, LeRobot computes {want}")
