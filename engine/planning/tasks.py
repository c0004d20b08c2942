"""What the robot is told to do: texts of the sources, of the recipe, and their numbers in the output."""

from collections.abc import Iterable, Mapping

from embodiments import unknown_name
from engine.errors import RecipeError
from engine.planning.recipe import SourceSpec
from engine.sources import SourceDataset, SourceEpisode


def rewritten(text: str, spec: SourceSpec) -> str:
    """A source's task as the output has it."""
    if isinstance(spec.task, str):
        return spec.task
    return (spec.task or {}).get(text, text)


def episode_tasks(source: SourceDataset, episode: SourceEpisode, spec: SourceSpec) -> tuple[str, ...]:
    """The output's tasks of an episode, as far as metadata tells; those of its rows are among them.

    Raises:
        RecipeError: nothing says which.
    """
    if isinstance(spec.task, str):
        return (spec.task,)
    named = episode.tasks or tuple(source.tasks.values())
    is_ambiguous = not episode.tasks and len(named) > 1 and not told_by_rows(source, spec)
    if not named or is_ambiguous or not all(task.strip() for task in named):
        raise RecipeError(
            f"{source.root} names no task for episode {episode.index}; "
            'say what the robot does there: --task "Pick up the cube."'
        )
    return tuple(dict.fromkeys(rewritten(text, spec) for text in named))


def told_by_rows(source: SourceDataset, spec: SourceSpec) -> bool:
    """Whether the tasks of an episode are those that its rows name."""
    return not isinstance(spec.task, str) and "task_index" in source.features


def check_tasks(source: SourceDataset, episodes: Iterable[SourceEpisode], spec: SourceSpec) -> None:
    """Whether every episode has a task, and every text that is to be replaced is one.

    Raises:
        RecipeError: an episode has none.
        UnknownName: a text is none of the source's.
    """
    known = dict.fromkeys(source.tasks.values())
    for episode in episodes:
        episode_tasks(source, episode, spec)
        known.update(dict.fromkeys(episode.tasks))
    for old in spec.task if isinstance(spec.task, Mapping) else ():
        if old not in known:
            raise unknown_name(old, f"task of {source.root}", known)
