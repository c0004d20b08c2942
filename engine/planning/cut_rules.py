"""Which still stretches of a source's episodes are cut: the recipe's settings, held against the source's robot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.embodiments import VECTORS, CompiledMap, Remedy, Robot, Setting, Vector, unknown_name
from millrace.engine.dataset.stillness import StillBands, still_bands
from millrace.engine.errors import RecipeError
from millrace.engine.planning.quality import DropPauses, TrimIdle, write_seconds
from millrace.engine.planning.recipe import Recipe, SourceSpec


@dataclass(frozen=True, eq=False)
class CutRules:
    """Which still stretches of a source's episodes are cut.

    bands: of the source's robot. used: places of the state and the action that the output has, (K,) each. groups: of
    the robot, those that have such places.
    """

    trim: TrimIdle | None
    pauses: DropPauses | None
    bands: StillBands
    used: Mapping[Vector, NDArray[np.int64]]
    groups: tuple[str, ...] = ()

    @property
    def facts(self) -> tuple[object, ...]:
        """All that decides what is cut of an episode."""
        widths = [(vector, self.used[vector].tolist(), self.bands.widths[vector].tolist()) for vector in VECTORS]
        return (repr(self.trim), repr(self.pauses), widths, [self.bands.kinds[vector] for vector in VECTORS])

    @property
    def tolerances(self) -> dict[str, str]:
        """How far a joint may stray while it counts as still, by joint group that counts: "0.01 rad"."""
        return {name: str(self.bands.groups[name]) for name in self.groups}


def choose_cut_rules(recipe: Recipe, spec: SourceSpec, compiled: CompiledMap) -> CutRules | None:
    """The rules for a source that is converted by a map; None where nothing is cut.

    Raises:
        RecipeError: `still` names a group that the robot lacks, or nothing tells what counts as still in a group.
    """
    trim = recipe.trim_idle if spec.trim_idle is None else spec.trim_idle
    pauses = recipe.drop_pauses if spec.drop_pauses is None else spec.drop_pauses
    robot = compiled.source
    # A recipe's sources may be of several robots, of which each has some of the groups.
    shared = {name: width for name, width in recipe.still.items() if len(recipe.sources) == 1 or name in robot.groups}
    given = {**shared, **spec.still}
    for name in given:
        if name not in robot.groups:
            raise RecipeError(unknown_name(name, f"joint group of '{robot.name}'", robot.groups))
    chosen = trim if isinstance(trim, TrimIdle) else None, pauses if isinstance(pauses, DropPauses) else None
    if chosen == (None, None):
        return None
    bands, used = still_bands(robot, given), used_places(compiled)
    check_known(robot, bands, used)
    return CutRules(*chosen, bands, used, tuple(used_groups(robot, used)))


def cut_notes(sources: Sequence[tuple[str, CutRules | None]]) -> Iterator[str]:
    """What is cut of each source's episodes, and what counts as still; sources: by address."""
    for address, rules in sources:
        if rules is None:
            continue
        cut = list(_describe(rules))
        bands = ", ".join(f"{group} {width}" for group, width in rules.tolerances.items())
        yield f"{address}: {' and '.join(cut)} are cut; still is what stays within {bands}"


def _describe(rules: CutRules) -> Iterator[str]:
    if (trim := rules.trim) is not None:
        ends = " and ".join(name for name, is_cut in (("start", trim.lead), ("end", trim.tail)) if is_cut)
        yield f"still stretches at the {ends} (but {write_seconds(trim.keep)})"
    if (pauses := rules.pauses) is not None:
        yield f"pauses longer than {write_seconds(pauses.longer_than)} (but {write_seconds(pauses.keep)})"


def used_places(compiled: CompiledMap) -> dict[Vector, NDArray[np.int64]]:
    """Places of the source's state and action from which the target's values come, (K,) each."""
    places = {"state": compiled.state.gather, "action": compiled.action.gather}
    # An action may repeat the target's state, which lies beyond the source's action.
    return {
        vector: np.unique(places[vector][places[vector] < compiled.source.layout(vector).width]) for vector in VECTORS
    }


def used_groups(robot: Robot, used: Mapping[Vector, NDArray[np.int64]]) -> Iterator[str]:
    """The joint groups of which the output has a value; used: see `used_places`."""
    for name in robot.groups:
        slices = ((vector, robot.layout(vector).slices.get(name)) for vector in VECTORS)
        if any(place and np.any((used[one] >= place.start) & (used[one] < place.stop)) for one, place in slices):
            yield name


def check_known(robot: Robot, bands: StillBands, used: Mapping[Vector, NDArray[np.int64]]) -> None:
    """Check that a band is known of each used value.

    Raises:
        RecipeError: of one none is; asks for it.
    """
    for vector in VECTORS:
        if unknown := bands.unknown(robot, vector, used[vector]):
            unit = robot.groups[unknown[0]].unit
            raise RecipeError(
                f"cannot tell when joint group '{unknown[0]}' of robot '{robot.name}' stands still: nothing is known "
                f"of its unit '{unit}', and it has no limits; ",
                Remedy("say how far its joints may stray, in that unit, with ", Setting("still", {unknown[0]: 0.01})),
                got=unit,
            )
