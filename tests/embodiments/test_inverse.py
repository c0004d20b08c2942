"""Inverse maps: what a target robot carries of a source robot comes back, and what it does not is named."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from millrace.embodiments import (
    EmbodimentMap,
    MapError,
    compile_map,
    identity_map,
    load_map,
    load_robot,
    map_names,
    robot_names,
)
from millrace.embodiments.inverse import Carrier, InverseJointMap
from millrace.embodiments.robot import VECTORS, Vector
from support.g1_real import DATASETS
from support.random_maps import FINITE, maps
from support.small_maps import MAP, write_robots

ALOHA_ROWS = DATASETS / "aloha_v21/data/chunk-000/episode_000000.parquet"
ITSELF = (Carrier("", 1, 0),)


def with_rest(name: str) -> EmbodimentMap:
    """A map that ships; what it leaves to its user rests."""
    shipped = load_map(name)
    return shipped.with_rules(dict.fromkeys(shipped.undefined, "rest"))


def some_rows(embodiment_map: EmbodimentMap) -> dict[Vector, NDArray[np.float32]]:
    """Rows of the source within its limits, or a few radians."""
    rng = np.random.default_rng(11)
    rows: dict[Vector, NDArray[np.float32]] = {}
    for vector in VECTORS:
        limits = np.clip(embodiment_map.source.layout(vector).limits, -4, 4)
        rows[vector] = rng.uniform(limits[:, 0], limits[:, 1], size=(50, len(limits))).astype(np.float32)
    return rows


def there_and_back(
    embodiment_map: EmbodimentMap, rows: dict[Vector, NDArray[np.float32]]
) -> dict[Vector, NDArray[np.float32]]:
    inverse = embodiment_map.inverse
    state, action = compile_map(embodiment_map).apply(rows["state"], rows["action"])
    return {"state": inverse.state(state), "action": inverse.action(action)}


@pytest.mark.parametrize("name", map_names())
def test_what_a_shipped_map_carries_comes_back_and_the_rest_is_at_rest(name: str) -> None:
    embodiment_map = with_rest(name)
    rows, inverse = some_rows(embodiment_map), embodiment_map.inverse
    for vector, back in there_and_back(embodiment_map, rows).items():
        assert back.dtype == np.float32
        for column, joint in enumerate(inverse.joints(vector)):
            if joint.how == "copy":
                np.testing.assert_array_equal(back[:, column], rows[vector][:, column], err_msg=joint.joint)
            elif joint.how == "rest":
                assert set(back[:, column].tolist()) == {joint.rest}
                assert any(joint.joint in line for line in inverse.losses)
            else:
                np.testing.assert_allclose(back[:, column], rows[vector][:, column], atol=1e-6, err_msg=joint.joint)


@pytest.mark.parametrize("name", robot_names())
def test_the_inverse_of_a_robot_onto_itself_is_the_identity(name: str) -> None:
    itself = identity_map(load_robot(name))
    rows = some_rows(itself)
    for vector, back in there_and_back(itself, rows).items():
        np.testing.assert_array_equal(back, rows[vector])
    assert itself.inverse.losses == ()


@settings(max_examples=40)  # a map takes long to draw
@given(maps(), st.data())
def test_random_maps_give_back_what_they_carry(embodiment_map: EmbodimentMap, data: st.DataObject) -> None:
    rows = {}
    for vector in VECTORS:
        width = embodiment_map.source.layout(vector).width
        values = data.draw(st.lists(FINITE, min_size=width, max_size=width))
        rows[vector] = np.array([values], np.float32)
    inverse, back = embodiment_map.inverse, there_and_back(embodiment_map, rows)
    for vector in VECTORS:
        for column, joint in enumerate(inverse.joints(vector)):
            # A narrow target range keeps fewer digits of what it carries: float32 has 24 bits, and none below 2**-149.
            carriers = joint.carriers or ITSELF
            bound = max((2**-22 * (abs(8 * c.scale) + abs(c.offset)) + 2**-149) / abs(c.scale) for c in carriers)
            expected = rows[vector][0, column] if joint.carriers else np.float32(joint.rest)
            np.testing.assert_allclose(back[vector][0, column], expected, atol=bound)


@pytest.mark.skipif(not ALOHA_ROWS.is_file(), reason="needs the ALOHA dataset of the project")
@pytest.mark.parametrize("name", ["aloha_to_gr1", "aloha_to_gr1_rescaled"])
def test_rows_of_a_recording_come_back(name: str) -> None:
    table = pq.read_table(ALOHA_ROWS, columns=["observation.state", "action"])
    rows: dict[Vector, NDArray[np.float32]] = {
        "state": np.array(table["observation.state"].to_pylist(), np.float32),
        "action": np.array(table["action"].to_pylist(), np.float32),
    }
    for vector, back in there_and_back(load_map(name), rows).items():
        np.testing.assert_allclose(back, rows[vector], rtol=0, atol=1e-6)


def small_map(folder: Path, text: str = MAP) -> EmbodimentMap:
    (write_robots(folder) / "map.yaml").write_text(text, encoding="utf-8")
    return load_map(folder / "map.yaml")


def test_each_joint_says_how_it_is_read_back(tmp_path: Path) -> None:
    inverse = small_map(tmp_path).inverse
    state = {joint.joint: (joint.how, [c.joint for c in joint.carriers]) for joint in inverse.joints("state")}
    assert state["a2"] == ("copy", ["b2"])
    assert state["index"] == ("copy", ["pointer"])
    assert state["grip"] == ("rest", [])
    (grip,) = [joint for joint in inverse.joints("action") if joint.joint == "grip"]
    assert grip.how == "mean"
    assert [tuple(c) for c in grip.carriers] == [("pointer", -1, 1), ("thumb", -1, 1)]


def test_a_lost_joint_is_named(tmp_path: Path) -> None:
    inverse = small_map(tmp_path).inverse
    assert inverse.lost == {"state": ("grip",), "action": ()}
    assert inverse.losses == ("map 'try' loses joints of the state of 'source', which come back at rest: grip 0",)


def test_the_mean_of_several_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    mean, named = small_map(tmp_path), small_map(tmp_path, MAP + "read_back: {grip: thumb}\n")
    target = np.zeros((1, compile_map(mean).target.layout("action").width))
    ours, theirs = mean.target.layout("action").joints, mean.source.layout("action").joints
    target[0, ours.index("pointer")], target[0, ours.index("thumb")] = -1, 0.5
    assert mean.inverse.action(target)[0, theirs.index("grip")] == np.float32((2 + 0.5) / 2)
    assert named.inverse.action(target)[0, theirs.index("grip")] == 0.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{grp: thumb}", "'grp' is not a joint of 'source'. Did you mean 'grip'?"),
        ("{grip: knee}", "'knee' is not a joint of 'target' that carries the action of 'grip'. Known: pointer, thumb"),
    ],
)
def test_a_joint_that_cannot_be_read_back_so_is_an_error_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(MapError) as raised:
        small_map(tmp_path, f"{MAP}read_back: {line}\n")
    assert message in str(raised.value)
    assert f"map.yaml:{len(MAP.splitlines()) + 1}: " in str(raised.value)


def test_a_held_joint_carries_no_action(tmp_path: Path) -> None:
    text = MAP.replace("  leg: hold\n", "  waist: hold\n")
    assert {"yaw", "pitch", "roll"} <= set(small_map(tmp_path, text).inverse.lost["action"])


def test_nan_stays_with_its_joint() -> None:
    embodiment_map = load_map("aloha_to_gr1_rescaled")
    rows = some_rows(embodiment_map)
    gripper = embodiment_map.source.layout("action").joints.index("left_gripper")
    rows["action"][3, gripper] = np.nan
    back = there_and_back(embodiment_map, rows)["action"]
    assert np.argwhere(np.isnan(back)).tolist() == [[3, gripper]]


def test_a_map_that_leaves_a_group_undefined_has_no_inverse_yet() -> None:
    with pytest.raises(MapError, match="leaves undefined what these groups"):
        _ = load_map("g1_dex3_to_unitree_g1").inverse


def test_vectors_of_another_width_are_refused() -> None:
    inverse = load_map("aloha_to_gr1").inverse
    with pytest.raises(ValueError, match=r"target must be \(T, D'\) with D' at least 35, got \(4, 14\)"):
        inverse.action(np.zeros((4, 14), np.float32))
    columns = np.array([0])
    with pytest.raises(ValueError, match="no scale may be 0"):
        InverseJointMap(columns, columns, np.zeros(1), np.zeros(1), np.zeros(1, np.float32))
