"""The lag of a source's states behind its actions, measured where a recipe asks for alignment."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from millrace.embodiments import MillraceError, Remedy, Setting, load_robot
from millrace.engine.errors import RecipeError
from millrace.engine.inspection.columns import choose_columns
from millrace.engine.inspection.episode_rows import measure_lag, read_values
from millrace.engine.inspection.inspect_rows import (
    UNRELATED_CORRELATION,
    make_row_checks,
    select_evenly,
    stored_features,
)
from millrace.engine.inspection.motion import LagSums, best_lag
from millrace.engine.planning.action_shift import AUTO
from millrace.engine.planning.recipe import Recipe
from millrace.engine.planning.recipe_sources import alignment, open_recipe_source
from millrace.engine.planning.robot_guess import guess_robot
from millrace.engine.sources import RowReader, SourceDataset, SourceEpisode
from millrace.engine.sources.selection import resolve_selection

# Evenly spaced episodes whose rows are read.
MAX_MEASURED = 32


def measure_lags(recipe: Recipe, known: Mapping[int, int] = MappingProxyType({})) -> Recipe:
    """The recipe with the lag of each source that asks for it: the rows of up to 32 of its episodes are read.

    Args:
        recipe: What to make.
        known: Lags in frames that an earlier run of the recipe measured, by place of the source.

    Raises:
        MillraceError: a source cannot be opened, or tells no lag; says what to do.
    """
    wanted = [number for number, spec in enumerate(recipe.sources) if alignment(recipe, spec) == AUTO]
    lags = {number: known[number] if number in known else _measure(recipe, number) for number in wanted}
    return recipe.with_lags(lags) if wanted else recipe


def _measure(recipe: Recipe, number: int) -> int:
    spec = recipe.sources[number]
    dataset = open_recipe_source(recipe, number)
    episodes, _ = resolve_selection(dataset, spec.episodes)
    return lag_frames(dataset, select_evenly(episodes, MAX_MEASURED))


def lag_frames(dataset: SourceDataset, episodes: Sequence[SourceEpisode]) -> int:
    """The lag in frames, positive where the state follows; 0 where the action is a copy of the state.

    Raises:
        RecipeError: nothing moves, action and state do not go together, or the lag may be longer than is measured.
    """
    sums = _sum(dataset, episodes)
    fit = None if sums is None else best_lag(sums)
    if sums is None or fit is None:
        raise _refuse(dataset, f"no joint that moves is in action and state of the {len(episodes)} episodes looked at")
    lively = sums.is_lively
    if sums.is_same[lively].all() or sums.is_next[lively].all():
        return 0
    if fit.correlation < UNRELATED_CORRELATION:
        raise _refuse(dataset, f"action and state do not go together at any lag (correlation {fit.correlation:.2f})")
    if abs(fit.frames) == len(sums.products) // 2:
        raise _refuse(dataset, f"the best lag, {fit.frames} frames, is the longest that is looked at")
    return fit.frames


def _sum(dataset: SourceDataset, episodes: Sequence[SourceEpisode]) -> LagSums | None:
    """The sums over all episodes whose rows can be read; the others fail when they are converted."""
    for episode in episodes:
        episode.fetch(())
    guess = guess_robot(dataset)
    robot = None if guess.name is None else load_robot(guess.name)
    features, _ = stored_features(dataset, episodes)
    reader = RowReader()
    checks = make_row_checks(dataset, choose_columns(features, robot), episodes, reader)
    found: LagSums | None = None
    for episode in episodes:
        try:
            values, _ = read_values(episode, checks.columns, reader)
        except MillraceError:
            continue
        lag = measure_lag({name: rows for name, rows in values.items() if np.isfinite(rows).all()}, checks)
        if lag is not None:
            found = lag if found is None else found + lag
    return found


def _refuse(dataset: SourceDataset, why: str) -> RecipeError:
    advice = Remedy("say how many frames with ", Setting("align_action", 2), ", or leave it out")
    return RecipeError(f"{dataset.address}: the lag of its states cannot be measured: {why}; ", advice)
