"""Leave out episodes by their length and their tasks, which metadata alone tells."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction

from millrace.embodiments import Remedy, Setting, unknown_name
from millrace.engine.errors import FaultCode, RecipeError
from millrace.engine.planning.filter_settings import REGEX, EpisodeFilter, TaskFilter
from millrace.engine.planning.quality import write_seconds
from millrace.engine.planning.recipe import SourceSpec
from millrace.engine.planning.tasks import rewrite_task, tasks_by_list
from millrace.engine.sources import SourceDataset, SourceEpisode, SourceFault
from millrace.engine.sources.episode import BadEpisode
from millrace.engine.text import join_names

MAX_LISTED = 20


def filter_episodes(
    dataset: SourceDataset, episodes: Sequence[SourceEpisode], spec: SourceSpec, chosen: EpisodeFilter, fps: Fraction
) -> tuple[list[SourceEpisode], list[BadEpisode]]:
    """The episodes to keep, and those that are left out, each with its reason.

    Args:
        dataset: Where the episodes are from.
        episodes: Those that the recipe selects.
        spec: The source.
        chosen: Its filter.
        fps: Its rate.

    Raises:
        MillraceError: no episode is left, or metadata does not tell an episode's tasks.
    """
    reason_of = _make_judge(dataset, episodes, spec, chosen, fps)
    kept, left_out = [], []
    for episode in episodes:
        if (reason := reason_of(episode)) is None:
            kept.append(episode)
        else:
            left_out.append(BadEpisode(episode.index, SourceFault(FaultCode.FILTERED, reason)))
    if episodes and not kept:
        if chosen.tasks is not None:
            check_patterns(chosen.tasks, [(dataset, spec)], of=dataset.address)
        first = left_out[0]
        problem = (
            f"the filter leaves no episode of {dataset.address}: {len(left_out)} are left out, such as {first.index}: "
        )
        raise RecipeError(problem, first.fault.reason, "; ", Remedy("widen the filter, or leave the source out"))
    return kept, left_out


def check_patterns(
    chosen: TaskFilter, sources: Iterable[tuple[SourceDataset, SourceSpec]], *, of: str = "the sources"
) -> None:
    """Check that each task or pattern fits a task of at least one source; of: what the sources are called.

    Raises:
        MillraceError: one fits none; lists the tasks.
    """
    known = list(dict.fromkeys(text for dataset, spec in sources for text in known_tasks(dataset, spec)))
    for pattern in (*chosen.include, *chosen.exclude):
        if any(task_fits(pattern, text) for text in known):
            continue
        if pattern.startswith(REGEX) or any(mark in pattern for mark in "*?["):
            message = f"{pattern!r} fits no task of {of}. Known: {join_names(known, MAX_LISTED)}"
            raise RecipeError(message, got=pattern, known=tuple(known))
        raise RecipeError(unknown_name(pattern, f"task of {of}", known))


def known_tasks(dataset: SourceDataset, spec: SourceSpec) -> Iterator[str]:
    """A source's tasks, as it names them and as the output has them."""
    for text in dataset.tasks.values():
        yield from dict.fromkeys(one for one in (text, rewrite_task(dataset, text, spec)) if one.strip())
    if isinstance(spec.task, str):
        yield spec.task


def task_fits(pattern: str, text: str) -> bool:
    """Whether a task is a pattern's: the same text, or by * and ?, or found by the expression after "re:"."""
    if pattern.startswith(REGEX):
        return re.search(pattern.removeprefix(REGEX), text) is not None
    return pattern == text or fnmatchcase(text, pattern)


def _make_judge(
    dataset: SourceDataset, episodes: Sequence[SourceEpisode], spec: SourceSpec, chosen: EpisodeFilter, fps: Fraction
) -> Callable[[SourceEpisode], str | None]:
    """A function that says why an episode is left out, or None."""
    by_tasks: dict[tuple[str, ...], str | None] = {}
    if chosen.tasks is not None:
        tasks = tasks_by_list(dataset, episodes, spec)
        if () in tasks and len(dataset.tasks) > 1:
            raise RecipeError(
                f"the metadata of {dataset.address} does not list the tasks of each episode, only its rows do; ",
                Remedy("choose by number, with ", Setting("episodes")),
            )
        # Of 100,000 episodes most have the tasks of another.
        by_tasks = {listed: _judge_tasks((*listed, *ours), chosen.tasks) for listed, ours in tasks.items()}

    def judge(episode: SourceEpisode) -> str | None:
        reasons = (_judge_length(episode.num_frames / fps, chosen), by_tasks.get(episode.tasks))
        return " and ".join(reason for reason in reasons if reason is not None) or None

    return judge


def _judge_length(seconds: Fraction, chosen: EpisodeFilter) -> str | None:
    if chosen.min_length is not None and seconds < chosen.min_length:
        return f"it is {float(seconds):.4g} s long (min_length {write_seconds(chosen.min_length)})"
    if chosen.max_length is not None and seconds > chosen.max_length:
        return f"it is {float(seconds):.4g} s long (max_length {write_seconds(chosen.max_length)})"
    return None


def _judge_tasks(texts: Sequence[str], chosen: TaskFilter) -> str | None:
    shown = join_names([repr(text) for text in dict.fromkeys(texts)], 4)
    if chosen.include and not any(task_fits(pattern, text) for pattern in chosen.include for text in texts):
        return f"its task is {shown}, none of those to include"
    excluded = [pattern for pattern in chosen.exclude if any(task_fits(pattern, text) for text in texts)]
    return f"its task is {shown}, which {excluded[0]!r} excludes" if excluded else None
