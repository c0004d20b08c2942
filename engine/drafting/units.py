"""Guess the unit of a group's joints from the values of a few episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import tau

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import MillraceError
from millrace.engine.dataset.rows import read_vectors
from millrace.engine.sources import RowReader, SourceDataset, SourceEpisode

NUM_EPISODES = 3
NORMALISED = 100.5  # LeRobot's calibrated motors run from -100 to 100, its grippers from 0 to 100


@dataclass(frozen=True)
class Extent:
    """Lowest and highest value; empty before any is seen."""

    low: float = np.inf
    high: float = -np.inf

    def __or__(self, other: "Extent") -> "Extent":
        return Extent(min(self.low, other.low), max(self.high, other.high))

    @property
    def is_seen(self) -> bool:
        """Whether there was a value."""
        return self.low <= self.high


def read_extents(dataset: SourceDataset, columns: Sequence[str]) -> dict[str, list[Extent]]:
    """Read the extent of each value of these columns in a few episodes; columns that cannot be read are missing."""
    seen: dict[str, list[Extent]] = {}
    reader = RowReader()
    for episode in _sample_episodes(dataset):
        for column in columns:
            try:
                with episode.holding_files():
                    episode.fetch([])
                    ranges, table = reader.read(episode, [column])
                values = read_vectors(table, column, where=ranges[0].path, used=np.empty(0, np.int64))
            except MillraceError:  # converting or inspecting the episode says what is wrong with it
                continue
            found = [_extent(values[:, place]) for place in range(values.shape[1])]
            before = seen.get(column, [Extent()] * len(found))
            if len(before) == len(found):
                seen[column] = [one | other for one, other in zip(before, found, strict=True)]
    return seen


def _sample_episodes(dataset: SourceDataset) -> list[SourceEpisode]:
    """The first, the last and one between; one of a dataset that has to be downloaded."""
    number = 1 if dataset.is_remote else NUM_EPISODES
    places = np.linspace(0, len(dataset.episodes) - 1, min(number, len(dataset.episodes))).round().astype(int)
    return [dataset.episodes[place] for place in dict.fromkeys(places.tolist())]


def _extent(values: NDArray[np.float32]) -> Extent:
    finite = values[np.isfinite(values)]
    return Extent(float(finite.min()), float(finite.max())) if len(finite) else Extent()


def guess_unit(label: str, extent: Extent, *, is_speed: bool = False) -> tuple[str, str]:
    """Guess a unit for the values; returns it with the values seen, or why the guess needs a check."""
    seen = f"seen {extent.low:.3g} to {extent.high:.3g}" if extent.is_seen else "no values could be read"
    if is_speed:
        return "m/s or rad/s", seen
    if not extent.is_seen:
        return "rad", seen
    is_hand = label.endswith(("hand", "gripper"))
    if is_hand and extent.low >= 0 and extent.high <= 1:
        return "normalised, 0 to 1", seen
    if max(-extent.low, extent.high) <= tau:
        return ("m and rad" if label.startswith("eef") else "rad"), seen
    if max(-extent.low, extent.high) <= NORMALISED:
        return "degrees or LeRobot's -100 to 100", f"{seen}, which are no radians"
    return ("degrees" if max(-extent.low, extent.high) <= 360 else "unknown"), f"{seen}, which are no radians"
