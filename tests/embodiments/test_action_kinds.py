"""Steps and velocities keep what they mean when the rate falls, and no map confuses them with targets."""

from pathlib import Path

import numpy as np
import pytest

from conftest import convert_here, matrix, read_table
from millrace.embodiments import MapError, RobotError, compile_map, identity_map, load_map, load_robot
from support.synthetic import expected_action, expected_state, write_dataset

ARM = """\
name: {name}
groups:
  arm: {{joints: [a1, a2], unit: rad}}
  step: {{joints: [dx, dy], unit: m, action_kind: {step}}}
  base: {{joints: [vx], unit: m/s, action_kind: {base}}}
state: {{observation.state: [arm]}}
action: {{action: [arm, step, base]}}
cameras: [top]
"""
MAP = """\
name: try
source: ./source.yaml
target: ./target.yaml
cameras: {top: top}
groups: {arm: {copy: arm}, step: {copy: step}, base: {copy: base}}
"""


def write_robot(path: Path, *, step: str = "delta", base: str = "velocity") -> Path:
    path.write_text(ARM.format(name=path.stem, step=step, base=base), encoding="utf-8")
    return path


def test_an_episode_keeps_its_targets_sums_its_steps_and_averages_its_velocities(tmp_path: Path) -> None:
    robot = write_robot(tmp_path / "mine.yaml")
    source, out = tmp_path / "source", tmp_path / "out"
    options = {"names": "flat", "parts": {"observation.state": ("a1", "a2"), "action": ("a1", "a2", "dx", "dy", "vx")}}
    write_dataset(source, lengths=(23,), cameras=("top",), fps=50, robot_type="mine", **options)
    convert_here(source, out, robot=str(robot), fps=20, horizon=4)
    frames = np.array([0, 2, 5, 8, 10, 12, 15, 18, 20])
    state, action = expected_state(0, np.arange(23), 2), expected_action(0, np.arange(23), 5).astype(np.float64)
    table = read_table(out, 0)
    np.testing.assert_array_equal(matrix(table, "observation.state"), state[frames])
    kept = matrix(table, "action")
    np.testing.assert_array_equal(kept[:, :2], action[frames, :2].astype(np.float32))
    np.testing.assert_allclose(kept[:, 2:4].sum(axis=0), action[:, 2:4].sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(kept[[0, 1, 8], 4], [action[s, 4].mean() for s in np.s_[0:2, 2:5, 20:23]], rtol=1e-6)


def test_a_robot_without_kinds_has_targets_only() -> None:
    layout = load_robot("aloha").layout("action")
    assert layout.action_kinds == ("target",) * 14
    assert load_robot("unitree_g1").layout("action").action_kinds[-3:] == ("velocity",) * 3
    assert load_robot("unitree_g1").layout("state").action_kinds == ("target",) * 31


def test_the_kind_of_an_action_is_part_of_the_maps_digest(tmp_path: Path) -> None:
    digests = {
        compile_map(identity_map(load_robot(write_robot(tmp_path / "mine.yaml", step=step)))).digest
        for step in ("target", "delta", "velocity")
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("step", "rule", "says"),
    [
        ("target", "{copy: step}", "the action of 'dx' is a delta, that of 'dx' in 'step' a target; under `action:`"),
        ("velocity", "{copy: step}", "the action of 'dx' is a delta, that of 'dx' in 'step' a velocity"),
        ("delta", "{copy: arm}", "the action of 'a1' is a target, that of 'dx' in 'step' a delta"),
        ("delta", "{copy: step, rescale: {source: [0, 1], target: [1, 2]}}", "moves the zero of 'dx', a delta, to 1"),
    ],
)
def test_no_rule_makes_another_kind_of_an_action(tmp_path: Path, step: str, rule: str, says: str) -> None:
    write_robot(tmp_path / "source.yaml")
    write_robot(tmp_path / "target.yaml", step=step)
    path = tmp_path / "map.yaml"
    path.write_text(MAP.replace("{copy: step}", rule), encoding="utf-8")
    with pytest.raises(MapError) as caught:
        compile_map(load_map(path))
    assert str(caught.value).startswith(f"{path}:5: ")
    assert says in str(caught.value)


def test_steps_may_be_scaled_and_rested(tmp_path: Path) -> None:
    write_robot(tmp_path / "source.yaml")
    write_robot(tmp_path / "target.yaml")
    path = tmp_path / "map.yaml"
    for rule in ("{copy: step, rescale: {source: [-1, 1], target: [-0.05, 0.05]}}", "rest"):
        path.write_text(MAP.replace("{copy: step}", rule), encoding="utf-8")
        assert compile_map(load_map(path)).name == "try"


def test_a_step_cannot_hold_a_position(tmp_path: Path) -> None:
    text = ARM.replace("state: {{observation.state: [arm]}}", "state: {{observation.state: [arm, step]}}")
    for name in ("source", "target"):
        body = text.format(name=name, step="delta", base="velocity")
        (tmp_path / f"{name}.yaml").write_text(body, encoding="utf-8")
    path = tmp_path / "map.yaml"
    path.write_text(MAP + "action: {step: hold}\n", encoding="utf-8")
    with pytest.raises(MapError, match="the observed state of 'dx' is a target, that of 'dx' in 'step' a delta"):
        compile_map(load_map(path))


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("action_kind: delta", "action_kind: delta, action: relative", "relative from a target, not from a delta"),
        ("action_kind: delta", "action_kind: step", "'target', 'delta' or 'velocity', got 'step'"),
        ("unit: rad", "unit: rad, limits: [1, -1]", r"limits \[1, -1\] must rise"),
        ("unit: rad", "unit: rad, limits: [[0, 1], [0, 1], [0, 1]]", "limits has 3 ranges for 2 joints"),
    ],
)
def test_a_wrong_kind_or_limit_is_an_error_with_its_line(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    path = write_robot(tmp_path / "mine.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace(was, becomes), encoding="utf-8")
    with pytest.raises(RobotError, match=says):
        load_robot(path)
