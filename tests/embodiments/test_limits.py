"""Values in other units than the robot's are named: per episode, by inspect, by convert and by validate."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import convert_here, data_path
from millrace.embodiments import load_robot
from millrace.engine.convert import Summary
from millrace.engine.dataset.limits import MARGIN, find_beyond
from millrace.engine.inspection import inspect_dataset
from millrace.engine.validate import validate
from support.synthetic import edit_column, write_dataset


def find(low: float, high: float, limits: tuple[float, float]) -> str | None:
    found = find_beyond(np.array([low]), np.array([high]), np.array([limits]), ["joint"])
    return f"{found[0]} ({found[0].guess})" if found else None


@pytest.mark.parametrize(
    ("low", "high", "limits", "says"),
    [
        (0, 98, (0, 1), "'joint' goes from 0 to 98, expected 0 to 1 (0..100 in place of 0..1?)"),
        (-92, 30, (-1.85, 1.26), "'joint' goes from -92 to 30, expected -1.85 to 1.26 (degrees in place of radians?)"),
        (0.2, 1.2, (-1.57, 0), "'joint' goes from 0.2 to 1.2, expected -1.57 to 0 (the opposite sign?)"),
        (0, 2, (-1.57, 0.5), "'joint' goes from 0 to 2, expected -1.57 to 0.5 (another unit, calibration or robot?)"),
        (
            0,
            4000,
            (-3.14, 3.14),
            "'joint' goes from 0 to 4000, expected -3.14 to 3.14 (another unit, calibration or robot?)",
        ),
        (-0.09, 1.09, (0, 1), None),
        (-1e30, 1e30, (-np.inf, np.inf), None),
    ],
)
def test_a_joint_beyond_its_limits_is_named_with_what_it_may_be(
    low: float, high: float, limits: tuple[float, float], says: str | None
) -> None:
    assert find(low, high, limits) == says


@given(st.floats(-100, 100), st.floats(0.01, 100), st.floats(-MARGIN * 0.99, 1 + MARGIN * 0.99))
def test_no_value_near_its_limits_is_named(low: float, span: float, share: float) -> None:
    value = low + share * span
    assert find(value, value, (low, low + span)) is None


def test_radians_have_limits_where_a_robot_names_none() -> None:
    layout = load_robot("gr1").layout("state")
    assert np.isfinite(layout.limits).all()
    navigation = load_robot("unitree_g1").layout("action").limits[-3:]
    assert np.isinf(navigation).all()


def to_degrees(rows: list[list[float]]) -> list[list[float]]:
    return np.rad2deg(np.array(rows, np.float32)).tolist()


@pytest.fixture(scope="module")
def degrees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ALOHA dataset, its episode 1 in degrees."""
    root = tmp_path_factory.mktemp("degrees") / "aloha"
    write_dataset(root, lengths=(30, 30, 30), fps=50)
    for column in ("observation.state", "action"):
        edit_column(data_path(root, 1), column, to_degrees)
    return root


@pytest.fixture(scope="module")
def converted(degrees: Path) -> tuple[Path, Summary]:
    out = degrees.parent / "out"
    return out, convert_here(degrees, out, map="aloha_to_gr1_rescaled", horizon=4)


def test_a_conversion_names_the_episode_in_other_units(converted: tuple[Path, Summary]) -> None:
    _, summary = converted
    (warning,) = summary.warnings
    assert (warning.code, warning.num_episodes, warning.first_episode) == ("beyond-limits", 1, 1)
    assert warning.message.startswith("state: 'left_gripper' goes from ") or "expected 0 to 1" in warning.message
    assert "in place of" in warning.message


def test_validate_names_values_that_the_target_cannot_reach(converted: tuple[Path, Summary]) -> None:
    out, _ = converted
    found = [problem for problem in validate(out).problems if problem.code == "beyond-limits"]
    assert [problem.message.split(":")[0] for problem in found] == ["state", "action"]
    assert all("limits of 'gr1'" in problem.message for problem in found)


def test_inspect_names_the_episode_in_other_units(degrees: Path) -> None:
    found = [finding for finding in inspect_dataset(degrees).findings if finding.code == "beyond-limits"]
    assert {finding.episode for finding in found} == {1}
    assert {finding.message.split(":")[0] for finding in found} == {"state", "action"}
    assert all("limits of robot 'aloha'" in finding.message for finding in found)


def test_the_range_of_a_rescale_is_a_limit_too(tmp_path: Path) -> None:
    """A robot file without limits: what its map expects of it counts."""
    text = "name: mine\ngroups:\n  hand: {joints: [grip], unit: percent}\nstate: {observation.state: [hand]}\n"
    (tmp_path / "mine.yaml").write_text(f"{text}action: {{action: [hand]}}\ncameras: [top]\n", encoding="utf-8")
    rule = "{broadcast: hand, rescale: {source: [0, 100], target: [0, 1]}}"
    rest = "\n".join(f"  {name}: rest" for name in load_robot("gr1").groups if name != "left_hand")
    (tmp_path / "map.yaml").write_text(
        "name: try\nsource: ./mine.yaml\ntarget: gr1\ncameras: {ego_view: top}\n"
        f"groups:\n  left_hand: {rule}\n{rest}\n",
        encoding="utf-8",
    )
    parts = {"observation.state": ("grip",), "action": ("grip",)}
    write_dataset(tmp_path / "source", lengths=(30,), fps=50, names="flat", robot_type="mine", parts=parts)
    edit_column(
        data_path(tmp_path / "source", 0),
        "action",
        lambda rows: np.linspace(0, 255, len(rows), dtype=np.float32).tolist(),
    )
    summary = convert_here(tmp_path / "source", tmp_path / "out", map=str(tmp_path / "map.yaml"), horizon=4)
    assert [warning.message for warning in summary.warnings] == [
        "action: 'grip' goes from 0 to 255, expected 0 to 100 (another unit, calibration or robot?)"
    ]
