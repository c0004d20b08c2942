"""Which episodes the recipe's filter would leave out for their rows: these are read, but no frames."""

from collections.abc import Iterator

from millrace.embodiments import MillraceError
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.episode.joint_rows import read_joints
from millrace.engine.episode.row_filter import check_motion
from millrace.engine.errors import EpisodeDataError, FaultCode, fault_code
from millrace.engine.planning import ConversionPlan, EpisodePlan
from millrace.engine.planning.binding import Binding
from millrace.engine.sources import RowReader


def survey_filter(plan: ConversionPlan) -> Iterator[EpisodeFailure]:
    """Read the rows of every episode that they may leave out, in the plan's order; what cannot be read is kept."""
    reader = RowReader()
    for episode in plan.episodes:
        binding = plan.job.bindings[episode.binding]
        if binding.filter is not None and (reason := _find_reason(episode, binding, reader)) is not None:
            yield EpisodeFailure(
                index=episode.index,
                plan=episode.digest,
                binding=episode.binding,
                source_episode=episode.episode.index,
                camera=None,
                code=FaultCode.FILTERED,
                reason=reason,
            )


def _find_reason(episode: EpisodePlan, binding: Binding, reader: RowReader) -> str | None:
    assert binding.filter is not None, "only episodes that may be left out are surveyed"
    try:
        state, action = read_joints(episode, binding, reader)
        check_motion(state, action, binding.filter, binding.fps)
    except EpisodeDataError as error:
        return error.message if fault_code(error) is FaultCode.FILTERED else None
    except MillraceError:  # it fails when it is converted
        return None
    return None
