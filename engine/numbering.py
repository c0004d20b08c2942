"""The numbers of the output's tasks, episodes and frames."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.binding import Binding
from engine.layout import MANIFEST
from engine.plan import EpisodePlan
from engine.prepare import PreparedSource
from engine.sources import SourceDataset, SourceEpisode
from engine.tasks import episode_tasks

Episodes = tuple[SourceEpisode, ...]


def number_tasks(sources: Sequence[PreparedSource], selected: Sequence[Episodes]) -> dict[str, int]:
    """Output task indices in order of first appearance, each text once."""
    texts: dict[str, None] = {}
    for source, episodes in zip(sources, selected, strict=True):
        for episode in episodes:
            texts.update(dict.fromkeys(episode_tasks(source.dataset, episode, source.spec)))
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
    for number, (source, episodes) in enumerate(zip(sources, selected, strict=True)):
        # Clips may be copied with what the source's manifest says of them.
        known = bindings[number].digest, _state_of_manifest(source.dataset)
        for episode in episodes:
            num_frames = source.num_frames[episode.index]
            task_index = tasks[episode_tasks(source.dataset, episode, source.spec)[0]]
            facts = (known, episode.index, num_frames, first_index, task_index, _state_of_files(episode))
            digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
            yield EpisodePlan(index, number, episode, num_frames, first_index, task_index, digest)
            index, first_index = index + 1, first_index + num_frames


def _state_of_manifest(source: SourceDataset) -> object:
    return _state_of(source.root / MANIFEST) if source.revision is None else source.revision


def _state_of_files(episode: SourceEpisode) -> Sequence[object]:
    """What stands for the content of the files that an episode is read from; not where a cache keeps them."""
    if episode.repository is not None:
        return [episode.repository.state_of(path) for path in episode.paths]
    return [(str(path.absolute()), _state_of(path)) for path in episode.paths]


def _state_of(path: Path) -> tuple[int, int]:
    """Size and time of a file; a missing one has neither."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns
