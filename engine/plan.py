"""What is to be made of each episode, and what all of them share."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embodiments import CompiledMap, Robot
from engine.binding import Binding
from engine.recipe import Recipe
from engine.resample import Resampler, frame_indices
from engine.sources import SourceEpisode
from engine.video.encode import VideoSettings
from engine.video.reframe import Crop

Part = Literal["training", "held out"]


@dataclass(frozen=True, eq=False)
class Job:
    """What all episodes share; sent to each worker once. cameras: of the output."""

    bindings: tuple[Binding, ...]
    cameras: tuple[str, ...]
    video: VideoSettings
    crop: Crop
    resample: Resampler
    chunks_size: int


@dataclass(frozen=True)
class EpisodePlan:
    """One output episode.

    first_index: the global index of its first frame. task_index: its first task's. digest: of all that
    decides its rows beside the source's files, so that a stopped run may be continued.
    """

    index: int
    binding: int
    episode: SourceEpisode
    num_frames: int
    first_index: int
    task_index: int
    digest: str


@dataclass(frozen=True, eq=False)
class ConversionPlan:
    """The whole output, before any of it is made.

    part: of the recipe's episodes; None: all of them. recipe: with the maps that were guessed.
    map: describes the output, whichever map an episode came by. dropped: source columns and cameras that
    nothing asked for. notes: what the user should know.
    """

    part: Part | None
    recipe: Recipe
    job: Job
    map: CompiledMap
    horizon: int
    tasks: tuple[str, ...]
    episodes: tuple[EpisodePlan, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Output frames of all episodes."""
        return sum(episode.num_frames for episode in self.episodes)

    @property
    def target(self) -> Robot:
        """The robot of all episodes."""
        return self.map.target

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the output."""
        return self.job.cameras


def chosen_frames(
    episode: SourceEpisode, source_fps: Fraction, target_fps: Fraction, resample: Resampler
) -> NDArray[np.int64]:
    """Source frames that become the output's, shape (T',); for state, action and every camera alike."""
    return frame_indices(episode.num_frames, source_fps=source_fps, target_fps=target_fps, resampler=resample)
