"""Flags for running a policy, which `evaluate` and `serve` share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction

from millrace.engine.dataset.releases import GrootChoice
from millrace.train.flag_types import option


@dataclass(frozen=True, kw_only=True)
class PolicyFlags:
    """By which release of GR00T a checkpoint is run, and as which robot."""

    gr00t: GrootChoice = "auto"
    """The release of GR00T that runs the policy; auto: the one that is installed."""
    embodiment_tag: Annotated[str | None, option("TAG")] = None
    """The robot, as GR00T calls it, in any case; by default as the checkpoint was finetuned."""
    import_module: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A Python file that is imported first, by every worker, such as a model type of your own; may be given again."""
