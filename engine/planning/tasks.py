"""What the robot is told to do: texts of the sources, of the recipe, and their numbers in the output."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from millrace.embodiments import Message, Remedy, Setting, unknown_name
from millrace.engine.errors import RecipeError
from millrace.engine.planning.recipe import SourceSpec
from millrace.engine.sources import SourceDataset, SourceEpisode
from millrace.engine.text import join_names
from millrace.engine.validate.info import is_placeholder

ADVICE = Remedy("say what the robot does there: ", Setting("task", "Pick up the cube."))


def rewrite_task(source: SourceDataset, text: str, spec: SourceSpec) -> str:
    """A source's task as the output has it; empty where nothing says what the robot does."""
    if isinstance(spec.task, str):
        return spec.task if spec.task_all or not text.strip() or _says_nothing(source, text) else text
    return (spec.task or {}).get(text, text)


def _says_nothing(source: SourceDataset, text: str) -> bool:
    """Whether a text is only a label, or what the recorder writes of itself."""
    return is_placeholder(text) or text in source.default_tasks


def episode_tasks(source: SourceDataset, episode: SourceEpisode, spec: SourceSpec) -> tuple[str, ...]:
    """The output's tasks of an episode as far as metadata tells: at least one, exactly one where rows name none.

    Raises:
        RecipeError: none is known, or several where no row says which.
    """
    if isinstance(spec.task, str) and spec.task_all:
        return (spec.task,)
    texts = [rewrite_task(source, text, spec) for text in _listed_texts(source, episode)]
    by_rows = has_row_tasks(source, spec)
    if texts and all(text.strip() for text in texts):
        tasks = _instructions(texts)
        if by_rows or len(tasks) == 1:
            return tasks
    if isinstance(spec.task, str):
        return (spec.task,)
    several = [repr(text) for text in _instructions(texts) if text.strip()]
    if len(several) > 1 and not by_rows:
        problem = f"lists {len(several)} tasks for episode {episode.index}, {join_names(several)}, "
        unclear = f"{source.address} {problem}and no column task_index says which row has which"
        raise RecipeError(unclear, "; ", ADVICE, episode=episode.index, got=several)
    unnamed = f"{source.address} names no task for episode {episode.index}"
    raise RecipeError(unnamed, "; ", ADVICE, episode=episode.index)


def tasks_by_list(
    source: SourceDataset, episodes: Iterable[SourceEpisode], spec: SourceSpec
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The output's tasks of each list of tasks that an episode has, in order of appearance; see `episode_tasks`."""
    return {listed: episode_tasks(source, first, spec) for listed, first in _first_of_each_list(episodes).items()}


def _first_of_each_list(episodes: Iterable[SourceEpisode]) -> dict[tuple[str, ...], SourceEpisode]:
    """The first episode of each list of tasks; of 100,000 episodes most have the list of another."""
    found: dict[tuple[str, ...], SourceEpisode] = {}
    for episode in episodes:
        found.setdefault(episode.tasks, episode)
    return found


def _listed_texts(source: SourceDataset, episode: SourceEpisode) -> Sequence[str]:
    return episode.tasks or tuple(source.tasks.values())


def _instructions(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once; labels such as 'valid' only where there is nothing else."""
    distinct = tuple(dict.fromkeys(texts))
    return tuple(text for text in distinct if not is_placeholder(text)) or distinct


def has_row_tasks(source: SourceDataset, spec: SourceSpec) -> bool:
    """Whether the tasks of an episode are those that its rows name."""
    return not spec.task_all and bool(source.tasks) and task_column(spec) in source.features


def task_column(spec: SourceSpec) -> str:
    """The column that says which task a row has."""
    return spec.language or "task_index"


def row_tasks(source: SourceDataset, spec: SourceSpec) -> dict[int, str]:
    """The output's text of every task that rows may name, by its number in the source; none is empty."""
    if not has_row_tasks(source, spec):
        return {}
    texts = {index: rewrite_task(source, source.tasks[index], spec) for index in sorted(source.tasks)}
    return {index: text for index, text in texts.items() if text.strip()}


def check_tasks(source: SourceDataset, episodes: Sequence[SourceEpisode], spec: SourceSpec) -> None:
    """Whether every episode has a task, and what the recipe says of tasks is of use.

    Raises:
        RecipeError: an episode has none, or no task is missing that `task` could fill in.
        UnknownName: a text that is to be replaced is none of the source's.
    """
    known = dict.fromkeys(source.tasks.values())
    for listed in tasks_by_list(source, episodes, spec):
        known.update(dict.fromkeys(listed))
    for old in spec.task if isinstance(spec.task, Mapping) else ():
        if old not in known:
            raise unknown_name(old, f"task of {source.address}", known)
    if isinstance(spec.task, str) and not spec.task_all and episodes and not needs_task(source, episodes, spec):
        example = _instructions(_listed_texts(source, episodes[0]))[0]
        problem = f"every episode of {source.address} has a task already, such as {example!r}, and task {spec.task!r} "
        advice = Remedy("Leave it out, or replace all of them by it: ", Setting("task_all", True))
        raise RecipeError(problem, "would only fill in what is missing. ", advice, got=spec.task)


def needs_task(source: SourceDataset, episodes: Iterable[SourceEpisode], spec: SourceSpec | None = None) -> bool:
    """Whether an episode, or a row, has a task that says nothing, or nothing says which of several it has."""
    by_rows = bool(source.tasks) and ("task_index" if spec is None else task_column(spec)) in source.features
    if by_rows and not all(text.strip() for text in source.tasks.values()):
        return True
    for episode in _first_of_each_list(episodes).values():
        texts = _instructions(_listed_texts(source, episode))
        is_known = bool(texts) and all(text.strip() for text in texts) and not _says_nothing(source, texts[0])
        if not is_known or (len(texts) > 1 and not by_rows):
            return True
    return False


def task_notes(source: SourceDataset, episodes: Iterable[SourceEpisode], spec: SourceSpec) -> Iterator[str]:
    """What the user should know of a source's tasks."""
    for problem in source.task_problems:
        yield f"{problem}; rows that name the task cannot be converted"
    labels = {text for text, *_ in tasks_by_list(source, episodes, spec).values()}
    for text in sorted(filter(is_placeholder, labels)):
        silent = f"{source.address}: the task {text!r} says nothing of what the robot does; give one with "
        yield Message(silent, Setting("task"))
    for text in sorted(labels.intersection(source.default_tasks)):
        default = (
            f"warning: {source.address}: the task {text!r} is what the recorder writes by itself. Where the robot "
        )
        yield Message(default, "does something else, say so with ", Setting("task"))
