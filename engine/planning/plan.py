"""The plan: what to make of each episode, and the settings that all of them share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from millrace.embodiments import CompiledMap, Robot
from millrace.engine.dataset import EpisodeFailure, Origin
from millrace.engine.planning.action_rule import ActionRule
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.carried import CarriedColumn, LeftOut
from millrace.engine.planning.depth_camera import DepthCamera
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.resample import Resampler
from millrace.engine.sources import FileState, SourceEpisode, SourceFault
from millrace.engine.video.backends import Gpu
from millrace.engine.video.encode import VideoSettings
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.framing import Framing
from millrace.engine.video.reframe import Crop

Split = Literal["training", "held out"]


@dataclass(frozen=True, eq=False)
class Job:
    """What all episodes share; sent to each worker once.

    cameras, tasks, subtasks, tools: of the output. sizes: of each camera's frames. video: its size is the smallest of
    these; see `for_camera`. gpu: where workers have one. carried: columns beside state and action. action: which
    recorded action an output frame has.
    """

    bindings: tuple[Binding, ...]
    tasks: tuple[str, ...]
    cameras: tuple[str, ...]
    video: VideoSettings
    crop: Crop
    resample: Resampler
    chunks_size: int
    sizes: Mapping[str, FrameSize] = field(default_factory=dict)
    gpu: Gpu | None = None
    carried: tuple[CarriedColumn, ...] = ()
    subtasks: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    action: ActionRule = "at_frame"

    @property
    def has_cuts(self) -> bool:
        """Whether rows decide how long episodes become."""
        return any(binding.cuts is not None for binding in self.bindings)

    @property
    def has_filter(self) -> bool:
        """Whether rows decide which episodes are left out."""
        return any(binding.filter is not None for binding in self.bindings)

    def for_camera(self, camera: str) -> "Job":
        """The job with the settings of one camera's videos."""
        return replace(self, video=replace(self.video, size=self.sizes[camera]))


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """One output episode.

    num_frames: its length, or as long as it can be until its rows tell what is cut.
    tasks: as the metadata says. first_index: the global index of its first frame. task_index: its first
    task's. digest: of its source's files and all else that decides its content, except the recipe and
    its numbers, so that a finished episode may get another number when a stopped run continues. origin: where it was
    recorded. states: of the files of `episode.paths`, as the plan saw them; none where they lie on the Hub.
    """

    index: int
    binding: int
    episode: SourceEpisode
    tasks: tuple[str, ...]
    num_frames: int
    first_index: int
    task_index: int
    digest: str
    origin: Origin
    states: Sequence[FileState] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Identifies the episode whatever its output number: the source's number in the recipe, and its own there."""
        return self.binding, self.episode.index


@dataclass(frozen=True, eq=False)
class ConversionPlan:
    """The whole output, before any of it is made.

    split: of the recipe's episodes; None: all of them. recipe: with the maps that were guessed.
    map: describes the output, whichever map an episode was converted by. dropped: source columns and cameras that
    the output does not use. notes: what the user should know. machine_notes: the same about this
    machine, which no record keeps. left_out: columns of sources that the output does not have. rejected: selected
    episodes that the metadata does not describe well enough to plan them; they count as failed. filtered: those that
    the recipe's filter leaves out by metadata. framings: how frames
    come to their size, as far as metadata tells.
    """

    split: Split | None
    recipe: Recipe
    job: Job
    map: CompiledMap
    horizon: int
    episodes: tuple[EpisodePlan, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    machine_notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    rejected: tuple[EpisodeFailure, ...] = ()
    filtered: tuple[EpisodeFailure, ...] = ()
    framings: tuple[Framing, ...] = ()
    depth: tuple[DepthCamera, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Texts of the output's tasks, in the order of their numbers."""
        return self.job.tasks

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


def first_fault(plan: EpisodePlan, job: Job) -> SourceFault | None:
    """The first error that metadata alone shows in an episode or in a camera that the output uses."""
    cameras = job.bindings[plan.binding].cameras
    used = {None, *(cameras.get(camera) for camera in job.cameras)}
    return next((fault for fault in plan.episode.faults if fault.camera in used), None)
