"""Which episodes of a source are left out for how the robot moves in them: the settings, held against its robot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, CompiledMap, Robot, Vector, unknown_name
from millrace.engine.dataset.stillness import StillBands, still_bands
from millrace.engine.errors import RecipeError
from millrace.engine.planning.cut_rules import check_known, used_groups, used_places
from millrace.engine.planning.filter_settings import Amounts, EpisodeFilter
from millrace.engine.planning.recipe import Recipe, SourceSpec

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FilterRules:
    """What of an episode's rows leaves it out.

    max_idle: a share of its frames. min_motion, max_jerk: by joint group, in its unit and per s³. bands: what counts as
    still. used: places of the state and the action that the output has, (K,) each. moving: of each group that is
    measured, the vector and the places in it: the state's, or the action's where the state lacks the group. unit_of:
    each group, in words.
    """

    max_idle: Fraction | None
    min_motion: Mapping[str, float]
    max_jerk: Mapping[str, float]
    bands: StillBands
    used: Mapping[Vector, Places]
    moving: Mapping[str, tuple[Vector, Places]]
    unit_of: Mapping[str, str]

    @property
    def units(self) -> StillBands:
        """The same as `bands`, each a unit wide."""
        return StillBands({vector: np.ones_like(self.bands.widths[vector]) for vector in VECTORS}, self.bands.kinds)

    @property
    def facts(self) -> tuple[object, ...]:
        """All that decides whether an episode is left out."""
        widths = [(vector, self.used[vector].tolist(), self.bands.widths[vector].tolist()) for vector in VECTORS]
        moving = [(name, vector, places.tolist()) for name, (vector, places) in self.moving.items()]
        amounts = sorted(self.min_motion.items()), sorted(self.max_jerk.items())
        idle = (self.max_idle, widths) if self.max_idle is not None else ()
        return (idle, amounts, moving, [self.bands.kinds[vector] for vector in VECTORS])

    @property
    def thresholds(self) -> dict[str, str]:
        """The settings in words, with units."""
        idle = {} if self.max_idle is None else {"max_idle": f"{float(self.max_idle):.4g} of the frames"}
        amounts = (("min_motion", self.min_motion, ""), ("max_jerk", self.max_jerk, "/s³"))
        return idle | {
            name: ", ".join(f"{group} {amount:g} {self.unit_of[group]}{per}" for group, amount in by_group.items())
            for name, by_group, per in amounts
            if by_group
        }


def episode_filter(recipe: Recipe, spec: SourceSpec) -> EpisodeFilter | None:
    """The filter of a source: its own, which replaces the recipe's."""
    chosen = recipe.filter if spec.filter is None else spec.filter
    return chosen if isinstance(chosen, EpisodeFilter) else None


def choose_filter_rules(recipe: Recipe, spec: SourceSpec, compiled: CompiledMap) -> FilterRules | None:
    """The rules for a source that is converted by a map; None where no row decides.

    Raises:
        RecipeError: a setting names a group that the robot lacks, or nothing tells what counts as still in a group.
    """
    chosen = episode_filter(recipe, spec)
    if chosen is None or not chosen.needs_rows:
        return None
    robot, used = compiled.source, used_places(compiled)
    # A recipe's sources may be of several robots, of which each has some of the groups.
    is_shared = spec.filter is None and len(recipe.sources) > 1
    groups = tuple(used_groups(robot, used))
    motion, jerk = (_by_group(one, robot, groups, is_shared=is_shared) for one in (chosen.min_motion, chosen.max_jerk))
    widths = {name: width for name, width in {**recipe.still, **spec.still}.items() if name in robot.groups}
    bands = still_bands(robot, widths)
    if chosen.max_idle is not None:
        check_known(robot, bands, used)
    moving = {name: _measured_places(robot, name, used) for name in groups if name in motion or name in jerk}
    unit_of = {name: robot.groups[name].unit.removesuffix("/s") for name in moving}
    return FilterRules(chosen.max_idle, motion, jerk, bands, used, moving, unit_of)


def _by_group(amounts: Amounts | None, robot: Robot, groups: tuple[str, ...], *, is_shared: bool) -> dict[str, float]:
    if not isinstance(amounts, Mapping):
        return {} if amounts is None else dict.fromkeys(groups, amounts)
    for name in amounts:
        if name not in robot.groups and not is_shared:
            raise RecipeError(unknown_name(name, f"joint group of '{robot.name}'", robot.groups))
    return {name: amounts[name] for name in groups if name in amounts}


def _measured_places(robot: Robot, group: str, used: Mapping[Vector, Places]) -> tuple[Vector, Places]:
    """The places of a group that the output uses: of the state, or of the action where the state has none."""
    for vector in VECTORS:
        place = robot.layout(vector).slices.get(group)
        own = used[vector]
        found = own[(own >= place.start) & (own < place.stop)] if place else own[:0]
        if len(found):
            return vector, found
    raise AssertionError("a used group has used places")


def filter_notes(address: str, rules: FilterRules | None) -> Iterator[str]:
    """The thresholds of what rows decide."""
    if rules is None:
        return
    for name, amounts in rules.thresholds.items():
        yield f"{address}: episodes are left out by {name}: {amounts}"
