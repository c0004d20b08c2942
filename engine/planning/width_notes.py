"""What to say of a robot with more values than GR00T takes."""

from collections.abc import Iterator

from millrace.embodiments import CompiledMap
from millrace.engine.dataset.releases import CURRENT


def width_notes(compiled: CompiledMap) -> Iterator[str]:
    """A warning for each of state and action of which more is trained than GR00T takes."""
    robot = compiled.target
    for vector, groups in (("state", compiled.trained_state), ("action", compiled.trained_action)):
        num_values = sum(len(robot.groups[name].joints) for name in groups)
        if num_values > (limit := CURRENT.limits.max_dims[vector]):
            yield (
                f"warning: '{robot.name}' has {num_values} {vector} values and GR00T {CURRENT.name} takes {limit}. "
                "Delete the groups that it does not need from its robot file; in a column without names, "
                "`column_slices:` tells where the others lie (docs/robots.md)"
            )
