"""Some of a dataset's episodes, as command lines and recipes name them."""

from engine.errors import RecipeError
from engine.sources.dataset import SourceDataset
from engine.sources.episode import SourceEpisode


def parse_selection(text: str) -> list[slice | int]:
    """ "0:40" or "3,5,10:20" as slices and indices; half-open, counted from 0.

    Raises:
        ValueError: anything else.
    """
    parts: list[slice | int] = []
    for part in text.split(","):
        bounds = part.strip().split(":")
        if len(bounds) > 2 or not all(bound.isdecimal() or (len(bounds) == 2 and not bound) for bound in bounds):
            raise ValueError(f"episodes are given as A:B or as a list such as 0,3,10:20, not {text!r}")
        numbers = [int(bound) if bound else None for bound in bounds]
        parts.append(slice(*numbers) if len(numbers) == 2 else int(bounds[0]))
    return parts


def select_episodes(dataset: SourceDataset, selection: str | None) -> list[SourceEpisode]:
    """The episodes that a selection names, in its order, each once; None names all.

    Raises:
        RecipeError: the selection is malformed, names an episode that does not exist, or none at all.
    """
    by_index = {episode.index: episode for episode in dataset.episodes}
    chosen = []
    try:
        parts = [slice(None)] if selection is None else parse_selection(selection)
    except ValueError as error:
        raise RecipeError(f"--episodes: {error}") from None
    for part in parts:
        if isinstance(part, int) and part not in by_index:
            raise RecipeError(f"--episodes {selection}: {dataset.root} has no episode {part}")
        wanted = range(*part.indices(max(by_index, default=-1) + 1)) if isinstance(part, slice) else [part]
        chosen += [by_index[index] for index in wanted if index in by_index]
    if not chosen:
        raise RecipeError(f"--episodes {selection or ':'} selects none of the {len(by_index)} of {dataset.root}")
    return list({episode.index: episode for episode in chosen}.values())
