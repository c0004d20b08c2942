"""The numbers of the output's tasks, episodes and frames."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from millrace.engine.layout import MANIFEST
from millrace.engine.planning.binding import Binding
from millrace.engine.planning.plan import ConversionPlan, EpisodePlan
from millrace.engine.planning.prepare import PreparedSource
from millrace.engine.planning.tasks import rewrite_task, row_tasks, tasks_by_list
from millrace.engine.sources import Camera, FileState, RowRange, SourceDataset, SourceEpisode
from millrace.engine.sources.file_state import FileStates
from millrace.engine.sources.parquet_rows import ParquetRows
from millrace.engine.sources.row_images import images_digest

Episodes = tuple[SourceEpisode, ...]
Key = tuple[int, int]  # see EpisodePlan.key
# Of files that episodes share, as they come one after the other.
MAX_STATES = 256


def number_tasks(sources: Sequence[PreparedSource], selected: Sequence[Episodes]) -> dict[str, int]:
    """Output task indices, each text once: those that metadata lists for the episodes in order of appearance,
    then those that rows may name besides; see `remove_unused_tasks`."""
    texts: dict[str, None] = {}
    for source, episodes in zip(sources, selected, strict=True):
        for told in tasks_by_list(source.dataset, episodes, source.spec).values():
            texts.update(dict.fromkeys(told))
    for source, episodes in zip(sources, selected, strict=True):
        texts.update(dict.fromkeys(row_tasks(source.dataset, source.spec).values() if episodes else ()))
    return {text: index for index, text in enumerate(texts)}


def number_episodes(
    sources: Sequence[PreparedSource], bindings: Sequence[Binding], selected: Sequence[Episodes], tasks: dict[str, int]
) -> Iterable[EpisodePlan]:
    """The output's episodes in the recipe's order.

    Args:
        sources: The recipe's.
        bindings: Of each.
        selected: Of each, the episodes that become the output's.
        tasks: Output task index by text.
    """
    index = first_index = 0
    state_of = lru_cache(maxsize=MAX_STATES)(FileState.read)  # many episodes may share a file
    for number, (source, episodes) in enumerate(zip(sources, selected, strict=True)):
        # Clips may be copied with what the source's manifest says of them.
        dataset = source.dataset
        texts = sorted((index, rewrite_task(dataset, text, source.spec)) for index, text in dataset.tasks.items())
        known = repr((bindings[number].digest, texts, _state_of_manifest(dataset)))
        cameras = frozenset(bindings[number].cameras.values())
        tasks_of = tasks_by_list(source.dataset, episodes, source.spec)
        for whole in episodes:
            episode = _with_cameras(whole, cameras)
            told = tasks_of[episode.tasks]
            num_frames = source.num_frames[episode.index]
            states = () if episode.repository is not None else tuple(map(state_of, episode.path_texts))
            facts: tuple[object, ...]
            facts = (num_frames, told, _facts_of(episode, source.dataset.root), _state_of_files(episode, states))
            facts += _state_of_pictures(episode, source.dataset.root)
            digest = hashlib.sha256(f"({known}, {repr(facts)[1:]}".encode()).hexdigest()[:16]
            told_of = digest, source.origins[episode.index]
            yield EpisodePlan(
                index, number, episode, told, num_frames, first_index, tasks[told[0]], *told_of, FileStates(states)
            )
            index, first_index = index + 1, first_index + num_frames


def _with_cameras(episode: SourceEpisode, cameras: Collection[str]) -> SourceEpisode:
    """The episode without unused videos, so that it makes no difference whether these exist or change."""
    clips = {camera: clip for camera, clip in episode.clips.items() if camera in cameras}
    return episode if len(clips) == len(episode.clips) else replace(episode, clips=clips)


def remove_episodes(plan: ConversionPlan, removed: Collection[Key]) -> ConversionPlan:
    """The plan without some episodes, as if the recipe did not select them: numbers have no gaps.

    Held-out episodes stay held out: the split is not made again.
    """
    episodes = [episode for episode in plan.episodes if episode.key not in removed]
    texts = dict.fromkeys(text for episode in episodes for text in episode.tasks)
    for number in sorted({episode.binding for episode in episodes}):
        in_rows = plan.job.bindings[number].tasks or {}
        texts.update(dict.fromkeys(plan.tasks[in_rows[index]] for index in sorted(in_rows)))
    first_indices = accumulate((episode.num_frames for episode in episodes), initial=0)
    renumbered = tuple(
        replace(episode, index=index, first_index=first_index)
        for index, (episode, first_index) in enumerate(zip(episodes, first_indices, strict=False))
    )
    return _with_tasks(replace(plan, episodes=renumbered), texts)


def settle_lengths(plan: ConversionPlan, lengths: Mapping[Key, int]) -> ConversionPlan:
    """The plan with the lengths that episodes have without the stretches that were cut; itself where none differs.

    lengths: output frames of converted episodes.
    """
    if all(lengths.get(episode.key, episode.num_frames) == episode.num_frames for episode in plan.episodes):
        return plan
    counts = [lengths.get(episode.key, episode.num_frames) for episode in plan.episodes]
    first_indices = accumulate(counts, initial=0)
    settled = tuple(
        replace(episode, num_frames=num_frames, first_index=first_index)
        for episode, num_frames, first_index in zip(plan.episodes, counts, first_indices, strict=False)
    )
    return replace(plan, episodes=settled)


def remove_unused_tasks(plan: ConversionPlan, named: Collection[str]) -> ConversionPlan:
    """The plan without tasks that rows might have named but none does, once all of its episodes are converted.

    named: the tasks that rows name.
    """
    listed = {text for episode in plan.episodes for text in episode.tasks}
    if listed.issuperset(plan.tasks):
        return plan
    used = listed.union(named)
    return plan if used.issuperset(plan.tasks) else _with_tasks(plan, [text for text in plan.tasks if text in used])


def _with_tasks(plan: ConversionPlan, texts: Iterable[str]) -> ConversionPlan:
    """The plan with these tasks, in this order."""
    tasks = {text: index for index, text in enumerate(texts)}
    bindings = tuple(_renumber_tasks(binding, plan.tasks, tasks) for binding in plan.job.bindings)
    episodes = tuple(replace(episode, task_index=tasks[episode.tasks[0]]) for episode in plan.episodes)
    return replace(plan, job=replace(plan.job, bindings=bindings, tasks=tuple(tasks)), episodes=episodes)


def _renumber_tasks(binding: Binding, before: Sequence[str], tasks: dict[str, int]) -> Binding:
    if binding.tasks is None:
        return binding
    texts = {index: before[number] for index, number in binding.tasks.items()}
    return replace(binding, tasks={index: tasks[text] for index, text in texts.items() if text in tasks})


def _state_of_manifest(source: SourceDataset) -> object:
    return source.files.state(source.root / MANIFEST)


def _state_of_files(episode: SourceEpisode, states: Sequence[FileState]) -> Sequence[object]:
    """The identity of the content of an episode's files, independent of where a cache keeps them."""
    if episode.repository is not None:
        return [episode.repository.content_state(path) for path in episode.paths]
    return states


def _state_of_pictures(episode: SourceEpisode, root: Path) -> tuple[str, ...]:
    """Likewise of picture files that its rows name; of a repository's, its commit tells."""
    digest = images_digest(episode, root) if episode.repository is None else None
    return () if digest is None else (digest,)


def _facts_of(episode: SourceEpisode, root: Path) -> Sequence[object]:
    """All that decides what is read of an episode: its rows, and the places of its clips in files."""
    prefix = f"{root}/"

    def place(path: Path | None) -> str:
        return str(Path(path)).removeprefix(prefix) if path is not None else str(path)

    def rows(ranges: Iterable[RowRange]) -> list[object]:
        if episode.search is not None:  # rows say themselves whose they are, wherever these are expected in a file
            return [place(part.path) for part in ranges]
        return [(place(part.path), part.start, part.stop, *reader(part)) for part in ranges]

    def reader(part: RowRange) -> tuple[object, ...]:
        """What makes columns of another kind of file than parquet, and where in the file they lie."""
        opened_by = () if part.open is ParquetRows else (repr(part.open),)
        return (*opened_by, part.group) if part.group else opened_by

    def fact(clip: Camera, name: str) -> object:
        value = getattr(clip, name)
        return place(value) if name == "path" else rows(value) if name == "rows" else value

    clips: list[object] = []
    for camera, clip in sorted(episode.clips.items()):
        kind: Any = type(clip)
        clips.append((camera, kind.__name__, [(name, fact(clip, name)) for name in _compared_fields(kind)]))
    own: tuple[object, ...] = (episode.index, episode.num_frames, episode.tasks, place(episode.search), episode.faults)
    own += (episode.max_spare, episode.trimmed, *sorted(episode.lengths.items()))
    return [own, rows(episode.rows), clips]


@lru_cache
def _compared_fields(kind: Any) -> Sequence[str]:
    """Fields that make two values of a kind of camera different, sorted."""
    return sorted(field.name for field in fields_of(kind) if field.compare)
