"""What every robot and every map that ships promises; a new file joins by lying in its folder."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace import embodiments
from millrace.embodiments import (
    CompiledMap,
    Robot,
    Vector,
    compile_map,
    identity_map,
    load_map,
    load_robot,
    map_names,
    match_joints,
    modality_config,
    modality_config_source,
    modality_json,
    robot_names,
)
from millrace.embodiments.robot import VECTORS

PACKAGE = Path(embodiments.__file__).parent


@pytest.fixture(params=robot_names())
def robot(request: pytest.FixtureRequest) -> Robot:
    return load_robot(request.param)


@pytest.fixture(params=map_names())
def compiled(request: pytest.FixtureRequest) -> CompiledMap:
    """Each map; what it leaves to its user rests."""
    shipped = load_map(request.param)
    return compile_map(shipped.with_rules(dict.fromkeys(shipped.undefined, "rest")))


def some_frames(robot: Robot, vector: Vector, num_frames: int = 7) -> NDArray[np.float32]:
    width = robot.layout(vector).width
    return np.random.default_rng(3).uniform(0, 1, size=(num_frames, width)).astype(np.float32)


def test_the_promised_embodiments_ship() -> None:
    sources = {"g1_gripper", "g1_dex3", "g1_trifinger", "g1_inspire26", "g1_dex1"}
    assert {"aloha", "gr1", "g1_inspire", "unitree_g1"} | sources <= set(robot_names())
    family = {f"{source}_to_{target}" for source in sources for target in ("inspire", "unitree_g1")}
    assert {"aloha_to_gr1", "aloha_to_gr1_rescaled"} | family <= set(map_names())


@pytest.mark.parametrize("name", robot_names())
def test_a_robots_file_bears_its_name(name: str) -> None:
    assert load_robot(name).name == name
    assert load_robot(PACKAGE / "robots" / f"{name}.yaml") == load_robot(name)


@pytest.mark.parametrize("name", map_names())
def test_a_maps_file_bears_its_name_and_its_robots(name: str) -> None:
    loaded = load_map(name)
    assert loaded.name == name
    assert name.startswith(f"{loaded.source.name}_to_{loaded.target.name.removeprefix('g1_')}")
    assert load_map(str(PACKAGE / "maps" / f"{name}.yaml")) == loaded


def test_a_robots_slices_are_disjoint_and_complete(robot: Robot) -> None:
    for vector in VECTORS:
        layout = robot.layout(vector)
        columns = [i for place in layout.slices.values() for i in range(place.start, place.stop)]
        assert columns == list(range(layout.width)) == list(range(len(layout.rest)))
        for group, place in layout.slices.items():
            order = robot.groups[group].order(vector)
            assert layout.joints[place] == order
            assert layout.rest[place].tolist() == [np.float32(robot.groups[group].rest_pose[joint]) for joint in order]


def test_a_robots_own_names_are_found(robot: Robot) -> None:
    for vector in VECTORS:
        for joints in robot.layout(vector).columns.values():
            found = match_joints(joints, joints, width=len(joints), aliases=robot.aliases)
            assert (found.gather.tolist(), found.by) == (list(range(len(joints))), "name")
            aliased = [next(iter(robot.aliases.get(joint, ())), joint) for joint in joints[::-1]]
            found = match_joints(aliased, joints, width=len(joints), aliases=robot.aliases)
            assert [aliased[column] for column in found.gather] == aliased[::-1]


def test_a_robot_onto_itself_is_the_identity(robot: Robot) -> None:
    made = compile_map(identity_map(robot))
    state, action = some_frames(robot, "state"), some_frames(robot, "action")
    for mapped, values in zip(made.apply(state, action), (state, action), strict=True):
        np.testing.assert_array_equal(mapped, values)
    assert made.unused == ()
    assert set(made.trained) == set(robot.groups)
    assert dict(made.cameras) == {camera: camera for camera in robot.cameras}


def test_gr00t_can_read_a_robot(robot: Robot) -> None:
    content = modality_json(robot, robot.cameras)
    assert list(content) == ["state", "action", "video", "annotation"]
    assert set(content["state"]) | set(content["action"]) == set(robot.groups)


def test_a_map_puts_only_rest_where_nothing_is_driven(compiled: CompiledMap) -> None:
    state = some_frames(compiled.source, "state")
    action = some_frames(compiled.source, "action")
    for mapped, joint_map, vector in zip(
        compiled.apply(state, action), (compiled.state, compiled.action), VECTORS, strict=True
    ):
        layout = compiled.target.layout(vector)
        assert mapped.shape == (7, layout.width)
        assert np.isfinite(mapped).all()
        still = np.setdiff1d(np.arange(layout.width), joint_map.driven)
        np.testing.assert_array_equal(mapped[:, still], np.tile(joint_map.rest[still], (7, 1)))


def test_a_map_trains_what_it_drives_or_names(compiled: CompiledMap) -> None:
    named = load_map(compiled.name).also_train
    maps, groups = (compiled.state, compiled.action), (compiled.trained_state, compiled.trained_action)
    for vector, joint_map, trained in zip(VECTORS, maps, groups, strict=True):
        slices = compiled.target.layout(vector).slices
        driven = set(joint_map.driven.tolist())
        for group in set(slices) - set(named):
            moves = not driven.isdisjoint(range(slices[group].start, slices[group].stop))
            assert group not in trained or moves or compiled.target.tag is not None
            # Without `hold`, whatever a column is gathered from is driven.
            assert group in trained or not moves or vector == "action"


def test_a_map_makes_a_modality_config(compiled: CompiledMap) -> None:
    config = modality_config(compiled, tuple(compiled.cameras), compiled.target.horizon)
    assert compiled.name in modality_config_source(config)
    assert set(compiled.cameras) <= set(compiled.target.cameras)
    assert set(compiled.cameras.values()) <= set(compiled.source.cameras)


# ALOHA onto GR1, to the index. Only here do numbers stand for joints.


def as_the_guide_maps(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Section 2.4 of the ALOHA guide."""
    mapped = np.zeros((len(values), 44), dtype=np.float32)
    mapped[:, 0:6] = values[:, 0:6]
    mapped[:, 7:13] = values[:, [6]]
    mapped[:, 22:28] = values[:, 7:13]
    mapped[:, 29:35] = values[:, [13]]
    return mapped


def test_aloha_to_gr1_is_the_guides_to_the_index() -> None:
    made = compile_map(load_map("aloha_to_gr1"))
    state, action = np.random.default_rng(5).normal(size=(2, 400, 14)).astype(np.float32)
    mapped_state, mapped_action = made.apply(state, action)
    np.testing.assert_array_equal(mapped_state, as_the_guide_maps(state))
    np.testing.assert_array_equal(mapped_action, as_the_guide_maps(action))
    assert made.trained == ("left_arm", "left_hand", "right_arm", "right_hand", "waist")
    assert dict(made.cameras) == {"ego_view": "top"}


def test_aloha_to_gr1_rescaled_reaches_gr1s_open_and_closed_hand() -> None:
    made = compile_map(load_map("aloha_to_gr1_rescaled"))
    values = np.random.default_rng(5).normal(size=(3, 14)).astype(np.float32)
    values[:, 6] = 1, 0, 0.5  # open, closed, half
    values[:, 13] = 0, 1, 0.5
    state, action = made.apply(values, values)
    opened, closed, half = [-1.5] * 4 + [-3, 3], [1.5] * 4 + [3, 3], [0.0] * 5 + [3]
    np.testing.assert_array_equal(action[:, 7:13], np.array([opened, closed, half]))
    np.testing.assert_array_equal(action[:, 29:35], np.array([closed, opened, half]))
    opened, closed = [0.0] * 5 + [1.74], [1.5] * 4 + [0.64, 1.74]
    np.testing.assert_allclose(state[:2, 7:13], [opened, closed], atol=1e-6)
    np.testing.assert_allclose(state[:2, 29:35], [closed, opened], atol=1e-6)


def test_aloha_to_gr1_rescaled_differs_from_the_guide_in_the_hands_only() -> None:
    plain, rescaled = (compile_map(load_map(name)) for name in ("aloha_to_gr1", "aloha_to_gr1_rescaled"))
    values = some_frames(plain.source, "state")
    for one, other in zip(plain.apply(values, values), rescaled.apply(values, values), strict=True):
        elsewhere = np.r_[0:7, 13:29, 35:44]
        np.testing.assert_array_equal(one[:, elsewhere], other[:, elsewhere])
    assert plain.trained_action == rescaled.trained_action


def test_a_right_first_aloha_is_found_by_name() -> None:
    robot = load_robot("aloha")
    (joints,) = robot.layout("state").columns.values()
    names = [*joints[7:], *joints[:7]]
    match = match_joints(names, joints, width=14, aliases=robot.aliases)
    assert match.gather.tolist() == [7, 8, 9, 10, 11, 12, 13, 0, 1, 2, 3, 4, 5, 6]


def test_a_real_aloha_with_shadow_joints_is_found_by_name() -> None:
    robot = load_robot("aloha")
    (joints,) = robot.layout("state").columns.values()
    names = [f"{joint}.pos" for joint in joints]
    for side in ("right", "left"):
        for joint in ("elbow", "shoulder"):
            names.insert(names.index(f"{side}_{joint}.pos") + 1, f"{side}_{joint}_shadow.pos")
    match = match_joints(names, joints, width=18, aliases=robot.aliases)
    assert [names[column] for column in match.gather] == [f"{joint}.pos" for joint in joints]


def numbers_in_brackets(code: str) -> list[str]:
    """Subscripts such as joints[6] or state[:, 7:13]; the axes of a shape are no joints."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Subscript) and not ast.unparse(node.value).endswith(".shape"):
            axes = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            ends = [end for axis in axes for end in (getattr(axis, "lower", axis), getattr(axis, "upper", None))]
            if any(end and re.fullmatch(r"-?\d+", ast.unparse(end)) for end in ends):
                found.append(ast.unparse(node))
    return found


def test_no_joint_is_called_by_its_number_in_python() -> None:
    assert numbers_in_brackets("a[6]; b[:, 7:13]; c[:-1]; d[i:]; e.shape[1]") == ["a[6]", "b[:, 7:13]", "c[:-1]"]
    for path in PACKAGE.glob("*.py"):
        assert numbers_in_brackets(path.read_text(encoding="utf-8")) == [], path
