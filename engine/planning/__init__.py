"""From a recipe and its sources to the plan of every output episode."""

from millrace.engine.planning.plan import ConversionPlan, EpisodePlan, Job

__all__ = ["ConversionPlan", "EpisodePlan", "Job"]
