"""Choose the map from a source to the target robot: the named one, none, or the only one that fits."""

import json
from collections.abc import Sequence
from dataclasses import replace

from millrace.embodiments import CompiledMap, Robot, compile_map, identity_map, load_map, load_robot
from millrace.engine.dataset.json_files import Unreadable
from millrace.engine.dataset.modality_config import read_config
from millrace.engine.errors import RecipeError
from millrace.engine.planning.joint_columns import ColumnMisfit, match_columns
from millrace.engine.planning.recipe import DraftedRobot, SourceSpec
from millrace.engine.planning.robot_guess import guess_map
from millrace.engine.sources import SourceDataset

# A source with its map, that map, and what the user should know.
MapChoice = tuple[SourceSpec, CompiledMap, tuple[str, ...]]


class RecipeMaps:
    """The maps of a recipe's sources, each read and compiled once.

    robot: the recipe's, by name or file; None where the maps alone say what to convert to.
    """

    def __init__(self, robot: str | None, drafted: DraftedRobot | None = None) -> None:
        """Raises MillraceError: there is no such robot, or its file is wrong."""
        self.robot = robot
        self.drafted = drafted
        self.target: Robot | None = None
        if robot is not None:
            self.target = load_robot(robot) if drafted is None else drafted.robot
        self._compiled: dict[tuple[str | None, str], CompiledMap] = {}

    def choose(self, spec: SourceSpec, source: SourceDataset) -> MapChoice:
        """The source's settings with the map filled in if only one fits; that map; and notes for the user.

        Raises:
            MillraceError: the map is wrong or leads elsewhere, or it is not clear which one is meant.
        """
        if spec.map is not None:
            return spec, self.compiled_map(spec), ()
        misfit = None if self.target is None else _misfit(source, self.target)
        if self.target is not None and misfit is None:
            return spec, _restrict_training(self.compiled_map(spec), source), self._notes
        if self.drafted is not None and misfit is not None:  # no map leads to a robot that no file describes
            raise misfit
        try:
            guess = guess_map(source, self.robot, str(spec.path))
        except RecipeError as unclear:
            raise misfit or unclear from None
        chosen = spec.model_copy(update={"map": guess.map})
        return chosen, self.compiled_map(chosen), (f"{source.address}: taken for map '{guess.map}': {guess.reason}",)

    @property
    def _notes(self) -> tuple[str, ...]:
        return () if self.drafted is None else self.drafted.notes

    def compiled_map(self, spec: SourceSpec) -> CompiledMap:
        """The compiled map that a source names, or the robot's map onto itself, with the recipe's own rules.

        Raises:
            MillraceError: the map or a rule is wrong, or it leads to another robot than the recipe's.
        """
        key = spec.map, json.dumps(spec.model_dump(mode="json")["rules"])
        if key not in self._compiled:
            self._compiled[key] = self._compile(spec)
        return self._compiled[key]

    def _compile(self, spec: SourceSpec) -> CompiledMap:
        if spec.map is not None:
            found = load_map(spec.map)
        else:
            assert self.target is not None, "a source without a map is of the recipe's robot"
            found = identity_map(self.target)
        compiled = compile_map(found.with_rules(spec.rules) if spec.rules else found)
        if self.target is not None and compiled.target != self.target:
            message = f"map '{spec.map}' leads to '{compiled.target.name}', not to '{self.robot}'"
            raise RecipeError(message, got=compiled.target.name, expected=self.robot)
        return compiled


def _restrict_training(kept: CompiledMap, source: SourceDataset) -> CompiledMap:
    """A robot's map onto itself, for a dataset that says which of its groups are trained: the others merely rest."""
    try:
        config = read_config(source.root)
    except Unreadable:
        return kept
    state = tuple(group for group in kept.trained_state if group in config.keys("state"))
    action = tuple(group for group in kept.trained_action if group in config.keys("action"))
    is_whole = all(kept.target.groups[group].action != "relative" or group in state for group in action)
    return replace(kept, trained_state=state, trained_action=action) if state and action and is_whole else kept


def _misfit(source: SourceDataset, robot: Robot) -> ColumnMisfit | None:
    """Why a source is not of a robot."""
    try:
        match_columns(source, robot, "state")
        match_columns(source, robot, "action")
    except ColumnMisfit as misfit:
        return misfit
    return None


def combine_maps(maps: Sequence[CompiledMap]) -> CompiledMap:
    """One map to describe the output of several: it trains the groups that all of them train.

    A group that one source moves and another lets rest would teach that it rests.

    Raises:
        RecipeError: they have no group in common.
    """
    first = maps[0]
    state = tuple(group for group in first.trained_state if all(group in other.trained_state for other in maps))
    action = tuple(group for group in first.trained_action if all(group in other.trained_action for other in maps))
    if not (state and action):
        names = ", ".join(dict.fromkeys(repr(compiled.name) for compiled in maps))
        raise RecipeError(f"the maps {names} move no joint group of '{first.target.name}' in common: nothing to train")
    name = ", ".join(dict.fromkeys(compiled.name for compiled in maps))
    return replace(first, name=name, trained_state=state, trained_action=action)
