"""Plans with backends and GPUs that this machine need not have."""

from millrace.engine.planning.plan import ConversionPlan
from millrace.engine.planning.planner import plan_splits, prepare_recipe
from millrace.engine.planning.recipe import Recipe
from millrace.engine.video.backends import BackendChoice, Backends, Gpu


def plan_with(recipe: Recipe, backends: Backends, gpu: Gpu | None = None) -> ConversionPlan:
    """The plan of a recipe's train split, as if these backends had been chosen."""
    return plan_splits(prepare_recipe(recipe), BackendChoice(backends, gpu))[0]
