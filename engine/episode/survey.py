"""What the recipe's filter and cuts would do to each episode: its rows are read once, but no frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from millrace.embodiments import MillraceError
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.dataset.processes import chunks, map_in_processes
from millrace.engine.dataset.record import Cut
from millrace.engine.episode.cut_frames import check_left, cut_episode
from millrace.engine.episode.joint_rows import Joints, read_joints
from millrace.engine.episode.row_filter import check_motion
from millrace.engine.errors import EpisodeDataError, FaultCode, fault_code
from millrace.engine.planning import ConversionPlan, EpisodePlan, Job
from millrace.engine.planning.action_shift import join_cuts, missing_actions, rows_with_actions, shift_rows
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.sources import RowReader

# Neighbours may share a file, which is opened once for all of them.
EPISODES_AT_ONCE = 64
# Fewer are read sooner than another process starts.
EPISODES_PER_PROCESS = 256


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


@dataclass(frozen=True)
class SurveyedEpisode:
    """What the rows of an episode decide.

    key: see `EpisodePlan.key`. filtered: the filter leaves it out. cuts: of one that it keeps, where the recipe cuts.
    """

    key: tuple[int, int]
    filtered: EpisodeFailure | None = None
    cuts: EpisodeCuts | None = None


def count_surveyed(plan: ConversionPlan) -> int:
    """How many episodes there are of which rows may decide something."""
    return sum(plan.job.bindings[episode.binding].is_judged_by_rows for episode in plan.episodes)


def survey_rows(
    plan: ConversionPlan, *, num_processes: int = 1, on_progress: Callable[[int], None] = lambda num_done: None
) -> list[SurveyedEpisode]:
    """Read the rows of every episode that the filter may leave out, or of which stretches may be cut.

    Args:
        plan: Its episodes are surveyed in its order.
        num_processes: The most processes that read rows.
        on_progress: Called with the number of episodes that are done.

    Raises:
        WorkersFailed: a process ended.
    """
    episodes = [episode for episode in plan.episodes if plan.job.bindings[episode.binding].is_judged_by_rows]
    num_processes = max(1, min(num_processes, len(episodes) // EPISODES_PER_PROCESS))
    found: list[SurveyedEpisode] = []
    survey = partial(_survey_all, plan.job)
    for surveyed in map_in_processes(survey, chunks(episodes, EPISODES_AT_ONCE), num_processes=num_processes):
        found += surveyed
        on_progress(len(found))
    return found


def _survey_all(job: Job, episodes: Sequence[EpisodePlan]) -> list[SurveyedEpisode]:
    reader = RowReader()
    return [_survey(episode, job, reader) for episode in episodes]


def _survey(episode: EpisodePlan, job: Job, reader: RowReader) -> SurveyedEpisode:
    """What cannot be read is kept by the filter: it fails when it is converted."""
    binding = job.bindings[episode.binding]
    try:
        joints = read_joints(episode, binding, reader)
        if binding.filter is not None:
            check_motion(*joints, binding.filter, binding.fps)
        cuts = _survey_cuts(episode, job, joints) if binding.cuts is not None else None
    except MillraceError as error:
        if isinstance(error, EpisodeDataError) and fault_code(error) is FaultCode.FILTERED:
            return SurveyedEpisode(episode.key, _filtered(episode, error.message))
        cuts = _cuts_of(episode, binding, reason=error.message) if binding.cuts is not None else None
    return SurveyedEpisode(episode.key, cuts=cuts)


def _survey_cuts(episode: EpisodePlan, job: Job, joints: Joints) -> EpisodeCuts:
    binding, num_frames = job.bindings[episode.binding], episode.episode.num_frames
    cuts = _find_cuts(binding, joints)
    rates = {"source_fps": binding.fps, "target_fps": job.video.fps}
    choice = choose_frames(num_frames, cuts, **rates, resampler=job.resample)
    check_left(choice)
    return _cuts_of(episode, binding, num_output_frames=len(choice.chosen), cuts=cuts)


def _find_cuts(binding: Binding, joints: Joints) -> tuple[Cut, ...]:
    assert binding.cuts is not None, "only what may be cut is looked for"
    state, action = joints
    missing = missing_actions(len(state), binding.action_shift)
    kept, action = rows_with_actions(len(state), binding.action_shift), shift_rows(action, binding.action_shift)
    found = cut_episode(state[kept], action[kept], binding.cuts, binding.fps)
    return join_cuts(missing, found, start=kept.start)


def _cuts_of(
    episode: EpisodePlan, binding: Binding, *, num_output_frames: int = 0, cuts: tuple[Cut, ...] = (), reason: str = ""
) -> EpisodeCuts:
    numbers = episode.episode.index, episode.episode.num_frames, num_output_frames
    return EpisodeCuts(binding.source.path, *numbers, float(binding.fps), cuts, reason)


def _filtered(episode: EpisodePlan, reason: str) -> EpisodeFailure:
    return EpisodeFailure(
        index=episode.index,
        plan=episode.digest,
        binding=episode.binding,
        source_episode=episode.episode.index,
        camera=None,
        code=FaultCode.FILTERED,
        reason=reason,
    )
