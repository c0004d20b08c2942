"""Episodes that the recipe's filter leaves out: they are no failures, and the output is made without them."""

from collections.abc import Iterable, Sequence

from millrace.embodiments import Remedy
from millrace.engine.dataset import EpisodeFailure
from millrace.engine.errors import FaultCode, RecipeError
from millrace.engine.output.ledger import Ledger
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.numbering import remove_episodes
from millrace.engine.planning.planner import check_horizon


def split_filtered(failures: Sequence[EpisodeFailure]) -> tuple[list[EpisodeFailure], list[EpisodeFailure]]:
    """Those that the filter leaves out, and those that failed."""
    filtered = [one for one in failures if one.code is FaultCode.FILTERED]
    return filtered, [one for one in failures if one.code is not FaultCode.FILTERED]


def leave_out(plan: ConversionPlan, filtered: Sequence[EpisodeFailure]) -> ConversionPlan:
    """The plan without the episodes that the filter leaves out.

    Raises:
        RecipeError: none is left of a source, or the longest that is left is shorter than an action chunk.
    """
    keys = {one.key for one in filtered}
    if not any(episode.key in keys for episode in plan.episodes):
        return plan
    rest = remove_episodes(plan, keys)
    lost = {episode.binding for episode in plan.episodes} - {episode.binding for episode in rest.episodes}
    if lost and (plan.split != "held out" or not rest.episodes):
        number = min(lost)
        first = next(one for one in filtered if one.binding == number)
        which = "held-out episode" if plan.split == "held out" else "episode"
        path = plan.recipe.sources[number].path
        problem = f"the filter leaves no {which} of {path}, for their rows; such as {first.source_episode}: "
        raise RecipeError(problem, first.reason, "; ", Remedy("widen the filter, or leave the source out"))
    check_horizon(rest)
    return rest


def emptied_sources(filtered: Iterable[EpisodeFailure], plan: ConversionPlan) -> tuple[str, ...]:
    """The sources of which the filter leaves no episode in a dataset; plan: without those that it leaves out."""
    gone = {one.binding for one in filtered} - {episode.binding for episode in plan.episodes}
    return tuple(str(plan.recipe.sources[number].path) for number in sorted(gone))


def leave_out_again(plan: ConversionPlan, ledger: Ledger) -> ConversionPlan:
    """The plan without those that an earlier run of the recipe left out by their rows."""
    rest = leave_out(plan, ledger.filtered)
    if rest is not plan:
        ledger.follow(rest)
    return rest
