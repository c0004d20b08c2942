"""What counts as standing still follows from a robot's units, limits and kinds of actions."""

import numpy as np
import pytest

from millrace.embodiments import Robot
from millrace.engine.dataset.stillness import still_bands, still_until

ARM = {"joints": ["a", "b"], "unit": "rad"}
GROUPS = {
    "radians": ({"unit": "rad"}, 0.01),
    "degrees": ({"unit": "degrees, or -100 to 100"}, 0.5),
    "metres": ({"unit": "m"}, 0.002),
    "a narrow range": ({"unit": "m of the left carriage", "limits": [0, 0.044]}, 0.00044),
    "a wide range": ({"unit": "rad", "limits": [-3, 3]}, 0.01),
    "a unit of its own with limits": ({"unit": "ticks", "limits": [0, 4096]}, 40.96),
    "a unit of its own": ({"unit": "ticks"}, np.nan),
}


def robot_of(**group: object) -> Robot:
    columns = {"observation.state": ["arm"]}
    return Robot(name="mine", groups={"arm": {**ARM, **group}}, state=columns, action={"action": ["arm"]})


@pytest.mark.parametrize("which", GROUPS)
def test_a_band_follows_from_unit_and_limits(which: str) -> None:
    group, width = GROUPS[which]
    bands = still_bands(robot_of(**group), {})
    np.testing.assert_allclose(bands.widths["state"], [width, width])
    assert still_bands(robot_of(**group), {"arm": 0.5}).widths["state"].tolist() == [0.5, 0.5]
    assert ("arm" in bands.groups) == (not np.isnan(width))


@pytest.mark.parametrize("kind", ["delta", "velocity"])
def test_a_constant_step_or_velocity_is_no_standing_still(kind: str) -> None:
    bands = still_bands(robot_of(action_kind=kind), {})
    moving = np.full((40, 2), 0.5 if kind == "velocity" else 0.025)
    found = {
        name: bands.positions("action", values, used=np.arange(2), fps=20)
        for name, values in {"moves": moving, "rests": np.zeros((40, 2))}.items()
    }
    assert still_until(found["moves"]) == 1
    assert still_until(found["rests"]) == 40
    as_targets = still_bands(robot_of(), {}).positions("action", moving, used=np.arange(2), fps=20)
    assert still_until(as_targets) == 40


def test_slow_motion_is_still_only_as_far_as_its_band() -> None:
    bands = still_bands(robot_of(), {})
    creeping = np.linspace(0, 0.1, 101)[:, None] * [1, 0]
    positions = bands.positions("state", creeping, used=np.arange(2), fps=20)
    assert still_until(positions) in (10, 11)
