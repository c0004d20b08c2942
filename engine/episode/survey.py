"""What would be cut of each episode: rows are read, but no frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from millrace.embodiments import MillraceError
from millrace.engine.dataset.record import Cut
from millrace.engine.episode.cut_frames import check_left, cut_episode
from millrace.engine.episode.joint_rows import read_joints
from millrace.engine.planning import ConversionPlan, EpisodePlan, Job
from millrace.engine.planning.action_shift import join_cuts, missing_actions, rows_with_actions, shift_rows
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.sources import RowReader


@dataclass(frozen=True)
class EpisodeCuts:
    """What would be cut of an episode, which is named as its source numbers it.

    num_frames: of the source. num_output_frames: 0 where it would fail, for which reason. fps: of the source.
    """

    source: Path
    episode: int
    num_frames: int
    num_output_frames: int
    fps: float
    cuts: tuple[Cut, ...] = ()
    reason: str = ""


def survey_cuts(plan: ConversionPlan) -> Iterator[EpisodeCuts]:
    """Read the rows of every episode of which stretches may be cut, in the plan's order."""
    reader = RowReader()
    for episode in plan.episodes:
        if plan.job.bindings[episode.binding].cuts is not None:
            yield _survey(episode, plan.job, reader)


def _survey(plan: EpisodePlan, job: Job, reader: RowReader) -> EpisodeCuts:
    binding, num_frames = job.bindings[plan.binding], plan.episode.num_frames
    said = (binding.source.path, plan.episode.index, num_frames)
    rates = {"source_fps": binding.fps, "target_fps": job.video.fps}
    try:
        cuts = _find_cuts(plan, job, reader)
        choice = choose_frames(num_frames, cuts, **rates, resampler=job.resample)
        check_left(choice)
    except MillraceError as error:
        return EpisodeCuts(*said, 0, float(binding.fps), reason=error.message)
    return EpisodeCuts(*said, len(choice.chosen), float(binding.fps), cuts)


def _find_cuts(plan: EpisodePlan, job: Job, reader: RowReader) -> tuple[Cut, ...]:
    binding = job.bindings[plan.binding]
    assert binding.cuts is not None, "only episodes that may be cut are surveyed"
    state, action = read_joints(plan, binding, reader)
    missing = missing_actions(len(state), binding.action_shift)
    kept, action = rows_with_actions(len(state), binding.action_shift), shift_rows(action, binding.action_shift)
    found = cut_episode(state[kept], action[kept], binding.cuts, binding.fps)
    return join_cuts(missing, found, start=kept.start)
