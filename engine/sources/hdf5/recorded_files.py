"""What the HDF5 files of a dataset hold together: numbers of episodes, splits, copies, and what all must agree on."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from millrace.embodiments import Remedy, Setting
from millrace.engine.errors import DatasetError
from millrace.engine.fps import format_fps
from millrace.engine.sources.hdf5.hdf5_episodes import Hdf5Episode
from millrace.engine.sources.hdf5.hdf5_layout import Hdf5Layout
from millrace.engine.text import join_names, printable

NUMBER = re.compile(r"\d{1,18}")
MAX_LISTED = 20  # names in a note
Value = TypeVar("Value")


@dataclass(frozen=True)
class RecordedFile:
    """What one file holds. splits: groups of episodes by name."""

    path: Path
    episodes: tuple[Hdf5Episode, ...]
    splits: Mapping[str, frozenset[str]] = field(default_factory=dict)


def number_by_names(found: Sequence[RecordedFile], layout: Hdf5Layout) -> list[int]:
    """The number of each episode: that in its name where all differ, else by place."""
    if not layout.episodes:
        names = [file.path.stem for file in found]
    elif len(found) == 1:
        names = [episode.group.rpartition("/")[2] for episode in found[0].episodes]
    else:
        names = []
    in_all = [number for name in names if (number := _last_number(name)) is not None]
    num_episodes = sum(len(file.episodes) for file in found)
    return in_all if len(set(in_all)) == num_episodes else list(range(num_episodes))


def merge_splits(found: Sequence[RecordedFile], numbers: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The episodes of each split of all files, in order."""
    splits: dict[str, list[int]] = {}
    groups = ((file.splits, episode.group) for file in found for episode in file.episodes)
    for number, (named, group) in zip(numbers, groups, strict=True):
        for name in (name for name, members in named.items() if group in members):
            splits.setdefault(name, []).append(number)
    return {name: tuple(sorted(episodes)) for name, episodes in splits.items()}


def note_copies(found: Sequence[RecordedFile]) -> Iterator[str]:
    """Files whose demonstrations have the same names and lengths, as robomimic's demo.hdf5 and low_dim.hdf5."""
    seen: dict[object, Path] = {}
    for file in found:
        held = tuple(
            (episode.group, tuple(episode.lengths.values())[-1:]) for episode in file.episodes if episode.group
        )
        first = seen.setdefault(held, file.path)
        if held and first != file.path:
            yield (
                f"warning: {first} and {file.path} hold episodes of the same names and lengths: if these are the same "
                "demonstrations, name one of the files in place of their folder"
            )


def common_rate(found: Sequence[RecordedFile], usual: Fraction | None) -> Fraction | None:
    """The rate of all episodes, Hz; None where nothing tells it.

    Args:
        found: The files.
        usual: The rate of those that do not say theirs; of all where they differ.

    Raises:
        DatasetError: they have several.
    """
    rates = _first_with_each(found, lambda episode: episode.rate)
    rates.pop(None, None)
    if len(rates) > 1 and usual is None:
        listed = _list_places(found, {f"{format_fps(rate)} Hz": one for rate, one in rates.items() if rate})
        advice = Remedy("convert them as several sources, or pass ", Setting("source_fps", "HZ"))
        raise DatasetError(f"{_what(found)} of different rates: {listed}; ", advice, got=sorted(map(str, rates)))
    return usual if len(rates) > 1 else next(iter(rates), usual)


def common_action_kind(found: Sequence[RecordedFile]) -> str | None:
    """The name of what all episodes' actions are; None where some do not tell it.

    Raises:
        DatasetError: they are of several kinds.
    """
    kinds = _first_with_each(found, lambda episode: episode.action_kind)
    if len(known := {kind: one for kind, one in kinds.items() if kind is not None}) > 1:
        message = f"{_what(found)} whose actions mean different things: {_list_places(found, known)}; "
        raise DatasetError(message, Remedy("convert them as several sources"), got=sorted(known))
    return None if None in kinds else next(iter(known), None)


def _first_with_each(found: Iterable[RecordedFile], read: Callable[[Hdf5Episode], Value]) -> dict[Value, Hdf5Episode]:
    """The first episode with each value, of those that can be read."""
    first: dict[Value, Hdf5Episode] = {}
    for episode in (episode for file in found for episode in file.episodes if episode.error is None):
        first.setdefault(read(episode), episode)
    return first


def _what(found: Sequence[RecordedFile]) -> str:
    return f"episodes of {found[0].path}" if len(found) == 1 else "files"


def _list_places(found: Sequence[RecordedFile], of: Mapping[str, Hdf5Episode]) -> str:
    """Values, each with an episode that has it, or with its file where there are several."""
    places = ((one.group if len(found) == 1 else one.path, value) for value, one in of.items())
    return join_names([f"{printable(place)} {value}" for place, value in places], MAX_LISTED)


def _last_number(name: str) -> int | None:
    found = NUMBER.findall(name)
    return int(found[-1]) if found else None
