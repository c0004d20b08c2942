"""The recordings that the episodes of a new dataset were made of, to be shown beside them.

They are found by the plan of the conversion, whose sources the user named: a manifest is not trusted to name any.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.engine.dataset import Origin
from millrace.engine.dataset.manifest import Lineage, parse_episode, read_manifest_episodes
from millrace.engine.dataset.record import Cut
from millrace.engine.episode.joint_rows import gather_joints
from millrace.engine.errors import FaultCode, RowsError, length_advice
from millrace.engine.layout import ACTION, STATE
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.report.charts import Floats
from millrace.engine.sources import Camera, RowReader, SourceEpisode, public_name


@dataclass(frozen=True, eq=False)
class SourceRecording:
    """What one episode of a new dataset was made of.

    frames: the source frame that each of its frames is, (T',). num_cut: frames of the source that were cut.
    """

    episode: SourceEpisode
    binding: Binding
    frames: NDArray[np.int64]
    num_cut: int = 0

    @property
    def source(self) -> str:
        """The dataset's name, without its place on this machine."""
        return public_name(self.binding.source.path, self.binding.revision)

    def __str__(self) -> str:
        seconds = self.num_cut / float(self.binding.fps)
        cut = f", without {seconds:.1f} s that were cut" if self.num_cut else ""
        return f"episode {self.episode.index} of {self.source}{cut}"

    def find_clip(self, camera: str) -> tuple[str, Camera] | None:
        """The source's camera, and its clip, of a camera of the output; None where the source has none."""
        name = self.binding.cameras.get(camera)
        clip = None if name is None else self.episode.clips.get(name)
        return None if name is None or clip is None else (name, clip)

    def read_vectors(self) -> Mapping[str, Floats]:
        """State and action at the source's rate, as joints of the new dataset and in its units, (T, D) each.

        Raises:
            MillraceError: the source's rows cannot be read any more.
        """
        binding = self.binding
        ranges, table = RowReader().read(self.episode, [*binding.state.columns, *binding.action.columns])
        num_frames = self.episode.num_frames
        if len(table) < num_frames:
            advice = length_advice(len(table), num_frames)
            message = f"{len(table)} rows of the source, but its metadata says {num_frames}; "
            raise RowsError(message, advice, code=FaultCode.ROW_COUNT, got=len(table), expected=num_frames)
        where, table = ", ".join(map(str, ranges)), table.slice(0, num_frames)
        state, action = (
            gather_joints(table, wanted, used, where)
            for wanted, used in (
                (binding.state, binding.map.state.gather),
                (binding.action, binding.map.action.gather),
            )
        )
        state, action = binding.map.apply(state, action)
        return {STATE: state.astype(np.float64), ACTION: action.astype(np.float64)}


Identity = tuple[str, str | None, int, Origin | None]


def find_source_recordings(plan: ConversionPlan, folder: Path, indices: Collection[int]) -> dict[int, SourceRecording]:
    """The recordings of episodes of a finished dataset, by their numbers there.

    The plan may number them otherwise: episodes that could not be converted are left out of the dataset.

    Args:
        plan: Of the conversion that made the dataset.
        folder: Where its manifest lies.
        indices: Episodes of the dataset.

    Raises:
        Unreadable: the manifest cannot be read.
    """
    planned = {_identify(plan, episode): episode for episode in plan.episodes}
    found = {}
    for index, text in enumerate(read_manifest_episodes(folder)):
        if index in indices:
            made = parse_episode(text, Lineage)
            episode = planned.get((made.source or "", made.revision, made.source_episode or 0, made.origin))
            if episode is not None and made.episode_index == index:
                found[index] = _find_recording(plan, episode, made.cuts)
    return found


def _identify(plan: ConversionPlan, episode: EpisodePlan) -> Identity:
    """How the manifest names an episode's recording."""
    binding = plan.job.bindings[episode.binding]
    name = public_name(binding.source.path, binding.revision)
    return name, binding.revision, episode.episode.index, episode.origin


def _find_recording(plan: ConversionPlan, episode: EpisodePlan, cuts: Sequence[Cut]) -> SourceRecording:
    binding, num_frames = plan.job.bindings[episode.binding], episode.episode.num_frames
    rates = {"source_fps": binding.fps, "target_fps": plan.job.video.fps}
    choice = choose_frames(num_frames, cuts, **rates, resampler=plan.job.resample)
    return SourceRecording(episode.episode, binding, choice.frames, num_frames - len(choice.kept))
