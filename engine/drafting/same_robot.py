"""The robot of a recipe that keeps that of its sources: drafted from the first of them."""

from millrace.embodiments import Robot
from millrace.engine.drafting.draft_robot import draft_robot
from millrace.engine.planning.recipe import SAME_ROBOT, DraftedRobot, Recipe
from millrace.engine.planning.recipe_sources import open_recipe_source
from millrace.engine.sources import SourceDataset
from millrace.engine.text import join_names


def keep_source_robot(recipe: Recipe) -> Recipe:
    """The recipe with the robot of its first source where it says "same"; else the recipe.

    Raises:
        DatasetError: the source cannot be opened, or no robot can be made of its columns.
    """
    if recipe.robot != SAME_ROBOT or recipe.drafted is not None:
        return recipe
    source = open_recipe_source(recipe, 0)
    draft = draft_robot(source)
    # Columns that are neither state nor action go to the output beside the robot.
    skipped = tuple(f"{source.address}: {text}" for text in draft.skipped if text not in draft.unused)
    return recipe.keep_robot(DraftedRobot(draft.robot, (*_notes(draft.robot, source), *skipped)))


def _notes(robot: Robot, source: SourceDataset) -> tuple[str, ...]:
    """What the files tell or names suggest of how actions are resampled."""
    kinds = {name: group.action_kind for name, group in robot.groups.items() if group.action_kind != "target"}
    said = [f"{name} as {kind}" for name, kind in kinds.items()]
    by = "as the files tell" if any(feature.kinds for feature in source.features.values()) else "by their names"
    return (f"{source.address}: {by}, actions are taken {join_names(said)}",) if said else ()
