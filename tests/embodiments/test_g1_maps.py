"""Every joint of the G1 family's targets is what the hand-written tables say, from datasets as the Hub has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from conftest import data_path, matrix
from millrace.embodiments import CompiledMap, MapError, Vector, compile_map, load_map, modality_config, modality_json
from millrace.embodiments.robot import VECTORS
from millrace.embodiments.rules import Broadcast, Rule
from millrace.engine.errors import DatasetError
from millrace.engine.planning.joint_columns import match_columns
from millrace.engine.sources import open_source
from support.g1_sources import COLUMNS, LEFT_ARM, LEFT_DEX3, LEFT_SDK, RIGHT_ARM, RIGHT_DEX3, RIGHT_SDK
from support.g1_tables import TABLES, Values, expected
from support.synthetic import write_dataset

NUM_FRAMES = 30


def broadcast(joint: str, source: tuple[float, float], polarity: str) -> Rule:
    rescale = {"source": source, "target": [0.0, 5.4], "polarity": polarity}
    return Broadcast.model_validate({"broadcast": joint, "rescale": rescale})


# What a recipe says where a hand has no one gripper value; see the tables.
RULES: dict[str, dict[str, Rule]] = {
    "g1_dex3": {"left_hand": "rest", "right_hand": broadcast("right_hand_index_0", (-0.2, 1.2), "same")},
    "g1_trifinger": {"left_hand": "rest", "right_hand": broadcast("right_hand_index_0", (-0.2, 1.2), "same")},
    "g1_inspire26": {"left_hand": "rest", "right_hand": broadcast("right_hand_index", (0.0, 1.0), "inverted")},
}


def compiled(name: str) -> CompiledMap:
    shipped = load_map(name)
    return compile_map(shipped.with_rules(RULES[shipped.source.name]) if shipped.undefined else shipped)


def write(root: Path, robot: str, **options: Any) -> None:
    settings = {"lengths": (NUM_FRAMES,), "cameras": (), "fps": 30, "names": "nested", "parts": COLUMNS[robot]}
    write_dataset(root, robot_type=None, **{**settings, **options})


def wide(table: pa.Table, column: str) -> NDArray[np.float32]:
    """A column as (T, D); LeRobot stores single values as scalars."""
    return matrix(table, column).reshape(len(table), -1)


def named_values(root: Path, vector: Vector) -> Values:
    """What the file holds, by the names that its columns have."""
    with pq.ParquetFile(data_path(root, 0)) as file:
        table = file.read()
    features = open_source(root).features
    columns = [name for name in features if name.startswith("observation" if vector == "state" else "action")]
    return {
        joint: values
        for column in columns
        for joint, values in zip(features[column].names or (), wide(table, column).T, strict=True)
    }


def mapped(root: Path, made: CompiledMap) -> tuple[NDArray[np.float32], ...]:
    """State and action as a conversion maps them."""
    source = open_source(root)
    with pq.ParquetFile(data_path(root, 0)) as file:
        table = file.read()
    found = [match_columns(source, made.source, vector) for vector in VECTORS]
    state, action = (
        np.concatenate([wide(table, column) for column in part.columns], axis=1)[:, part.gather] for part in found
    )
    return made.apply(state, action)


@pytest.mark.parametrize("name", TABLES)
def test_every_joint_is_what_the_table_says(tmp_path: Path, name: str) -> None:
    made = compiled(name)
    write(tmp_path, made.source.name)
    observed: Values = {}
    for vector, values in zip(VECTORS, mapped(tmp_path, made), strict=True):
        wanted = expected(name, vector, named_values(tmp_path, vector), observed)
        assert list(made.target.layout(vector).joints) == list(wanted)
        for joint, column in zip(wanted, values.T, strict=True):
            np.testing.assert_allclose(column, wanted[joint], rtol=1e-6, atol=1e-6, err_msg=f"{vector} {joint}")
        observed = wanted


def test_the_tables_are_of_every_map_of_the_family() -> None:
    assert set(TABLES) == {f"{source}_to_{target}" for source in COLUMNS for target in ("inspire", "unitree_g1")}


@pytest.mark.parametrize("name", [name for name in TABLES if name.endswith("_to_inspire")])
def test_every_source_trains_the_guides_five_groups(name: str) -> None:
    config = modality_config(compiled(name), ["cam_left_high"], 16)
    groups = ("body", "left_arm", "right_arm", "left_gripper", "right_gripper")
    assert config.state_keys == config.action_keys == groups
    assert set(config.action_reps) == {"absolute"}


def test_the_inspire_targets_groups_are_disjoint_and_complete() -> None:
    places = {
        "body": {"start": 0, "end": 15},
        "left_arm": {"start": 15, "end": 22},
        "right_arm": {"start": 22, "end": 29},
        "left_gripper": {"start": 29, "end": 41},
        "right_gripper": {"start": 41, "end": 53},
    }
    content = modality_json(load_map("g1_gripper_to_inspire").target, [])
    assert content["state"] == content["action"] == places


# GR00T N1.6, gr00t/configs/data/embodiment_configs.py, "unitree_g1".
STATE_KEYS = ("left_leg", "right_leg", "waist", "left_arm", "right_arm", "left_hand", "right_hand")
ACTION_REPS = {
    "left_arm": "relative",
    "right_arm": "relative",
    "left_hand": "absolute",
    "right_hand": "absolute",
    "waist": "absolute",
    "base_height_command": "absolute",
    "navigate_command": "absolute",
}


@pytest.mark.parametrize("name", [name for name in TABLES if name.endswith("_to_unitree_g1")])
def test_every_source_gives_what_gr00ts_own_config_names(name: str) -> None:
    made = compiled(name)
    config = modality_config(made, tuple(made.cameras), made.target.horizon)
    assert config.state_keys == STATE_KEYS
    assert dict(zip(config.action_keys, config.action_reps, strict=True)) == ACTION_REPS
    assert list(config.action_keys) == list(ACTION_REPS)
    assert (config.video_keys, config.horizon) == (("ego_view",), 30)
    assert config.language_key == "annotation.human.task_description"
    assert (made.target.layout("state").width, made.target.layout("action").width) == (31, 23)


@pytest.mark.parametrize("source", ["g1_dex3", "g1_trifinger", "g1_inspire26"])
def test_a_hand_of_many_joints_is_no_gripper_until_the_recipe_says(source: str) -> None:
    with pytest.raises(
        MapError, match=r"left_hand \(a hand of (six|seven) joints has no one gripper value\); right_hand"
    ):
        compile_map(load_map(f"{source}_to_unitree_g1"))
    with pytest.raises(MapError, match=r"become: right_hand \(a hand of"):
        compile_map(load_map(f"{source}_to_unitree_g1").with_rules({"left_hand": "rest"}))


# How the sources are told apart and found.

INTERLEAVED = [*LEFT_ARM, *LEFT_SDK, *RIGHT_ARM, *RIGHT_SDK]


def test_interleaved_arms_and_hands_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, "g1_inspire26", parts={"observation.state": INTERLEAVED, "action": INTERLEAVED[::-1]})
    made = compiled("g1_inspire26_to_inspire")
    for vector, values in zip(VECTORS, mapped(tmp_path, made), strict=True):
        wanted = expected("g1_inspire26_to_inspire", vector, named_values(tmp_path, vector), {})
        np.testing.assert_allclose(values, np.stack(list(wanted.values()), axis=1), atol=1e-6)


@pytest.mark.parametrize("robot", ["g1_inspire26", "g1_trifinger"])
def test_joints_without_names_are_not_taken_by_position_where_orders_differ(tmp_path: Path, robot: str) -> None:
    write(tmp_path, robot, parts=None, names=None, state_width=len(COLUMNS[robot]["action"]))
    with pytest.raises(DatasetError, match="it names no joints, and this robot's datasets come in more than one order"):
        match_columns(open_source(tmp_path), load_map(f"{robot}_to_inspire").source, "state")


def test_a_robot_file_may_ask_for_the_position(tmp_path: Path) -> None:
    write(tmp_path, "g1_inspire26", parts=None, names=None, state_width=26)
    robot = load_map("g1_inspire26_to_inspire").source.model_copy(update={"by_position": True})
    assert match_columns(open_source(tmp_path), robot, "state").by == ("position",)


def test_braincos_hands_are_not_taken_for_inspires(tmp_path: Path) -> None:
    brainco = ("Thumb", "ThumbAux", "Index", "Middle", "Ring", "Pinky")
    hands = [f"k{side}Hand{joint}" for side in ("Left", "Right") for joint in brainco]
    joints = [*LEFT_ARM, *RIGHT_ARM, *hands]
    write(tmp_path, "g1_inspire26", parts={"observation.state": joints, "action": joints})
    with pytest.raises(DatasetError, match="it lacks left_hand_thumb_bend, left_hand_thumb_rotation, right_hand"):
        match_columns(open_source(tmp_path), load_map("g1_inspire26_to_inspire").source, "state")


@pytest.mark.parametrize("spelled", ["left_hand_index_0_joint", "left_hand_index_0.q", "LEFT_HAND_INDEX_0_JOINT.pos"])
def test_the_urdfs_names_are_found_as_the_sdks(tmp_path: Path, spelled: str) -> None:
    joints = [spelled if name == "kLeftHandIndex0" else name for name in COLUMNS["g1_dex3"]["action"]]
    write(tmp_path, "g1_dex3", parts={"observation.state": joints, "action": joints})
    found = match_columns(open_source(tmp_path), load_map("g1_dex3_to_inspire").source, "state")
    assert found.by == ("name",)
    assert found.gather.tolist() == list(range(28))


def test_action_action_is_the_action(tmp_path: Path) -> None:
    joints = [*LEFT_ARM, *RIGHT_ARM, *LEFT_DEX3, *RIGHT_DEX3]
    write(tmp_path, "g1_dex3", parts={"observation.state": joints, "action.action": joints})
    robot = load_map("g1_dex3_to_inspire").source
    assert match_columns(open_source(tmp_path), robot, "action").columns == ("action.action",)


def test_a_column_of_no_known_name_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    joints = COLUMNS["g1_dex3"]["action"]
    write(tmp_path, "g1_dex3", parts={"observation.states": joints, "action": joints})
    with pytest.raises(DatasetError) as caught:
        match_columns(open_source(tmp_path), load_map("g1_dex3_to_inspire").source, "state")
    assert "no column 'observation.state' of joints" in str(caught.value)
    assert "Did you mean 'observation.states'? Known: observation.states, action, " in str(caught.value)
    assert "`column_aliases:`" in str(caught.value)
