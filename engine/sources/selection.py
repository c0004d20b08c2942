"""Select episodes of a dataset, as command lines and recipes name them."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import DatasetError, RecipeError
from millrace.engine.sources.dataset import SourceDataset
from millrace.engine.sources.episode import BadEpisode, SourceEpisode

SPLIT = "@"  # begins the name of a split
EXAMPLE = "A:B, A-B with both ends, or a list such as 0,3,10:20"
BOTH_ENDS = re.compile(r"([0-9]+)-([0-9]+)")
NUMBER = re.compile(r"-?[0-9]+")


def parse_selection(text: str) -> list[slice | int]:
    """ "0:40" or "3,5,10:20" as slices and indices, counted from 0; those below 0 from the end, as "-3:".

    A range with a colon is half-open; one with a hyphen has both ends: "0-9" is "0:10".

    Raises:
        ValueError: anything else.
    """
    return [_parse_part(part.strip(), text) for part in text.split(",")]


def parse_parts(text: str) -> list[slice | int | str]:
    """As `parse_selection`, and @train, a split of the dataset, as its name "train".

    Raises:
        ValueError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    return [part[1:] if part[:1] == SPLIT and part != SPLIT else _parse_part(part, text) for part in parts]


def _parse_part(part: str, text: str) -> slice | int:
    if ends := BOTH_ENDS.fullmatch(part):
        return slice(int(ends[1]), int(ends[2]) + 1)
    bounds = part.split(":")
    if len(bounds) > 2 or not all(NUMBER.fullmatch(bound) or (len(bounds) == 2 and not bound) for bound in bounds):
        raise ValueError(f"episodes are given as {EXAMPLE}, not {text!r}")
    numbers = [int(bound) if bound else None for bound in bounds]
    return slice(*numbers) if len(numbers) == 2 else int(bounds[0])


def count_from_start(part: slice | int, known: Sequence[int]) -> slice | int:
    """A part of a selection without numbers below 0, which count from the end of what a dataset has.

    Args:
        part: An episode, or a half-open range.
        known: The numbers of the dataset's episodes, ascending; they may have gaps: -1 is the last one's.

    Raises:
        ValueError: it reaches further back than the first episode.
    """
    if isinstance(part, int):
        return _count_from_start(part, known)
    start, stop = (None if bound is None else _count_from_start(bound, known) for bound in (part.start, part.stop))
    return slice(start, stop)


def _count_from_start(number: int, known: Sequence[int]) -> int:
    if number < -len(known):
        raise ValueError(f"there are only {len(known)} episodes, none is at {number}")
    return known[number] if number < 0 else number


def select_episodes(dataset: SourceDataset, selection: str | None, *, setting: str = "episodes") -> list[SourceEpisode]:
    """The episodes that a selection names and that can be read, in its order; see `resolve_selection`."""
    return resolve_selection(dataset, selection, setting=setting)[0]


def resolve_selection(
    dataset: SourceDataset, selection: str | None, *, setting: str = "episodes"
) -> tuple[list[SourceEpisode], list[BadEpisode]]:
    """The episodes that a selection names, in its order, and the bad ones among them; None names all.

    Unlike Python's, its ranges may not reach past the end: whoever asks for 100 episodes should hear that there
    are 50. Within them, numbers that the dataset leaves out are no error.

    Args:
        dataset: The dataset.
        selection: Such as "0:40", "0-39", "-3:" or "3,5,10:20", or "@train" for a split of the dataset.
        setting: Whose value the selection is.

    Raises:
        DatasetError: the dataset has no episodes.
        RecipeError: the selection is malformed, names an episode that does not exist or one twice, or has a part
            that names none.
    """
    if not dataset.episodes and not dataset.bad:
        raise DatasetError(f"{dataset.address} has no episodes")
    if selection is None:
        return list(dataset.episodes), list(dataset.bad)
    chosen = _chosen(dataset, selection, setting)
    by_index = {episode.index: episode for episode in dataset.episodes}
    bad = {episode.index: episode for episode in dataset.bad}
    return [by_index[index] for index in chosen if index in by_index], [bad[index] for index in chosen if index in bad]


def _chosen(dataset: SourceDataset, selection: str, setting: str) -> list[int]:
    """The numbers that a selection names, in its order."""
    try:
        parts = parse_parts(selection)
    except ValueError as error:
        raise RecipeError(Setting(setting), f": {error}", got=selection, expected=EXAMPLE) from None
    known = {episode.index for episode in dataset.episodes} | {bad.index for bad in dataset.bad}
    chosen: dict[int, None] = {}
    for text, part in zip(selection.split(","), parts, strict=True):
        where = Setting(setting, text.strip())
        found = (
            _split(part, dataset, where) if isinstance(part, str) else _indices(part, dataset.root, known, where=where)
        )
        for index in found:
            if index in chosen:
                raise RecipeError(Setting(setting, selection), f" names episode {index} twice", episode=index)
            chosen[index] = None
    return list(chosen)


def _split(name: str, dataset: SourceDataset, where: Setting) -> Sequence[int]:
    """The episodes of a split."""
    if not dataset.splits.get(name):
        known = tuple(f"{SPLIT}{split}" for split, episodes in dataset.splits.items() if episodes)
        message = f": {dataset.address} has no such split. Known: {', '.join(known) or 'none'}"
        raise RecipeError(where, message, got=where.value, known=known)
    return dataset.splits[name]


def _indices(part: slice | int, root: Path, known: Collection[int], *, where: Setting) -> list[int]:
    """The episodes that a part of a selection names, at least one."""
    in_order = sorted(known)
    try:
        part = count_from_start(part, in_order)
    except ValueError as error:
        raise RecipeError(where, f": {root}: {error}", got=where.value, expected=f"at least {-len(known)}") from None
    if isinstance(part, int) and part in known:
        return [part]
    last = in_order[-1]
    furthest = part if isinstance(part, int) else max(part.start or 0, (part.stop or 1) - 1)
    if isinstance(part, int) or furthest > last:
        extent = f"it has {len(known)}, the last is {last}"
        problem = f": {root} has no episode {furthest}; {extent}"
        advice = () if isinstance(part, int) else (". ", Remedy("A range without an end, A:, takes all that are there"))
        raise RecipeError(where, problem, *advice, got=furthest, expected=f"at most {last}", episode=furthest)
    wanted = range(*part.indices(last + 1))
    chosen = [index for index in in_order if index in wanted]  # numbers may have gaps of any size
    if not chosen:
        raise RecipeError(where, f" selects none of the {len(known)} episodes of {root}", got=where.value)
    return chosen
