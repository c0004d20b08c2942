"""Choose the episodes that are held out for evaluation: the same ones in each run, some of every source."""

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from millrace.embodiments import Remedy, Setting
from millrace.engine.dataset import Origin
from millrace.engine.errors import RecipeError
from millrace.engine.planning.prepare import PreparedSource
from millrace.engine.planning.recipe import NONE
from millrace.engine.planning.recipe_problems import Problems
from millrace.engine.sources import SourceEpisode
from millrace.engine.sources.selection import resolve_selection

HELD_OUT = "_heldout"


def heldout_folder(out: Path) -> Path:
    """The folder of a dataset's held-out episodes: OUT_heldout."""
    named = out if out.name not in ("", "..") else out.resolve()
    return named.with_name(named.name + HELD_OUT)


def split_episodes(
    sources: Sequence[PreparedSource], share: Fraction | None, problems: Problems
) -> tuple[list[tuple[SourceEpisode, ...]], list[tuple[SourceEpisode, ...]]]:
    """Split each source's episodes into train and held out.

    An episode that several sources contain, in any revision or converted by Millrace before, is held out of all of
    them.

    Args:
        sources: What the recipe selects.
        share: Of each source's episodes, readable or not, rounded, at least one; sources may list their own instead.
        problems: Collects sources of which nothing is left to train on.
    """
    held: set[Origin] = set()
    for source in sources:
        found = problems.collect((*source.key, "holdout"), _select_held_out, source, share)
        held.update(source.origins[episode.index] for episode in found or ())
    parts: tuple[list[tuple[SourceEpisode, ...]], list[tuple[SourceEpisode, ...]]] = ([], [])
    for source in sources:
        is_held = [source.origins[episode.index] in held for episode in source.episodes]
        for part, wanted in zip(parts, (False, True), strict=True):
            part.append(tuple(e for e, flag in zip(source.episodes, is_held, strict=True) if flag is wanted))
        if not parts[0][-1]:
            few = f"all {len(source.episodes)} episodes of {source.spec.path} would be held out, none trained on; "
            advice = Remedy("list fewer under `holdout:`, or say `holdout: none`")
            problems.add((*source.key, "holdout"), RecipeError(few, advice))
    return parts


def duplicate_notes(sources: Sequence[PreparedSource]) -> Iterator[str]:
    """Warn of sources whose episodes have the same lengths but other origins: they may be copies of each other."""
    seen: dict[object, PreparedSource] = {}
    for source in sources:
        lengths = source.fps, tuple(episode.num_frames for episode in source.dataset.episodes)
        first = seen.setdefault(lengths, source)
        if set(first.origins.values()).isdisjoint(source.origins.values()):
            yield (
                f"warning: the episodes of {first.spec.path} and {source.spec.path} have the same lengths: if one is a "
                "copy of the other, what is held out of one is trained on in the other. Leave one of them out, or list "
                "the same episodes under `holdout:` of both"
            )


def _select_held_out(source: PreparedSource, share: Fraction | None) -> list[SourceEpisode]:
    if source.spec.holdout == NONE:
        return []
    if source.spec.holdout is not None:
        listed, rejected = resolve_selection(source.dataset, source.spec.holdout, setting="holdout")
        if rejected and not listed:  # beside others, it is a failed episode like any
            raise RecipeError(
                f"{source.spec.path}: episode {rejected[0].index} cannot be held out, for it cannot be read: ",
                rejected[0].fault.reason,
                episode=rejected[0].index,
            )
        return _keep_selected(source, listed)
    if share is None:
        return []
    return _first_ranked(source, share)


def _keep_selected(source: PreparedSource, listed: Sequence[SourceEpisode]) -> list[SourceEpisode]:
    """The listed episodes that the filter keeps, each of which the recipe selects."""
    selected = {episode.index for episode in source.episodes}
    filtered = {bad.index: bad.fault.reason for bad in source.filtered}
    for episode in listed:
        if episode.index not in selected and episode.index not in filtered:
            message = f"{source.spec.path}: episode {episode.index} cannot be held out: it is not selected"
            raise RecipeError(message, episode=episode.index)
    kept = [episode for episode in listed if episode.index in selected]
    if listed and not kept:
        first = listed[0].index
        problem = f"the filter leaves no held-out episode of {source.spec.path}; such as {first}: "
        advice = Remedy("widen the filter, or hold others out with ", Setting("holdout"))
        raise RecipeError(problem, filtered[first], "; ", advice, episode=first)
    return kept


def _first_ranked(source: PreparedSource, share: Fraction) -> list[SourceEpisode]:
    """A share of a source's episodes by rank; unreadable ones are ranked too, so that fixing one moves no other.

    Only where none of those to hold out can be read, the next in rank is held out until one of them is fixed.
    """
    readable = {episode.index: episode for episode in source.episodes}
    numbers = [*readable, *(bad.index for bad in source.rejected)]
    ranked = sorted(numbers, key=lambda number: _rank(source.origins[number]))
    num_held = max(1, round(share * len(numbers)))
    held = [readable[number] for number in ranked[:num_held] if number in readable]
    return held or [readable[number] for number in ranked if number in readable][:1]


def _rank(origin: Origin) -> str:
    """A hash of an episode's origin that is the same wherever its dataset lies and whatever is converted with it.

    Neither revision nor metadata are part of it: a dataset that is fixed or grows keeps most of its held-out episodes.
    """
    return hashlib.sha256(f"{origin.source}/{origin.episode}".encode()).hexdigest()
