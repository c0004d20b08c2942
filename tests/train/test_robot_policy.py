"""A model in the joints of a dataset drives the robot that the dataset was recorded with."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import convert_here, matrix, read_table
from millrace.embodiments import Robot
from millrace.engine.planning.resample import nearest_indices
from millrace.train.control_notes import CONTROL, RobotControl, choose_robot, known_robots, known_tags, write_control
from millrace.train.errors import ConfigError, RequestError, SettingsError
from millrace.train.framings import NOTES
from millrace.train.robot_policy import ControlSettings, RobotPolicy
from millrace.train.serve import ServeSettings
from support.barcode import draw, read
from support.demonstrator import write_checkpoint
from support.replayed_model import TAG, ReplayedModel, control_of, replay
from support.synthetic import write_dataset

NUM_ROWS = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aloha") / "source"
    write_dataset(root, lengths=(NUM_ROWS,))
    return root


@pytest.fixture(scope="module")
def dataset(source: Path) -> Path:
    convert_here(source, source.parent / "gr1", map="aloha_to_gr1_rescaled")
    return source.parent / "gr1"


@pytest.fixture(scope="module")
def robot(dataset: Path) -> RobotControl:
    return control_of(dataset, dataset.parent / "checkpoint")


def by_group(robot: Robot, vector: Any, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {group: values[..., place] for group, place in robot.layout(vector).slices.items()}


def observation(robot: RobotControl, state: NDArray[np.float32], image: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "video": {"top": image[None, None]},
        "state": by_group(robot.source.robot, "state", state[None, None]),
        "language": {"annotation.human.task_description": [["pick up the cube"]]},
    }


def stacked(robot: RobotControl, actions: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """(N, D) in the order of the robot's action."""
    return np.concatenate([actions[group] for group in robot.source.robot.groups_of("action")], axis=-1)[0]


def test_what_was_recorded_comes_back_in_the_robots_joints_and_rate(
    source: Path, dataset: Path, robot: RobotControl
) -> None:
    model = replay(dataset, robot, at=4)
    policy = RobotPolicy(model, model.config, robot, ControlSettings(control_hz=Fraction(20)))
    rows = read_table(source, 0)
    kept = nearest_indices(NUM_ROWS, source_fps=Fraction(50), target_fps=Fraction(20))
    state, action = matrix(rows, "observation.state"), matrix(rows, "action")
    actions, facts = policy.get_action(observation(robot, state[kept[4]], draw(int(kept[4]))))
    assert facts == {"control_hz": 20}
    np.testing.assert_allclose(stacked(robot, actions), action[kept[4:20]], rtol=1e-6, atol=1e-6)


def test_the_model_sees_what_the_dataset_holds_of_the_same_moment(
    source: Path, dataset: Path, robot: RobotControl
) -> None:
    model = replay(dataset, robot)
    policy = RobotPolicy(model, model.config, robot)
    state = matrix(read_table(source, 0), "observation.state")[10]  # the 10th at 50 Hz is the 4th at 20
    policy.get_action(observation(robot, state, draw(10)))
    (seen,) = model.seen
    expected = matrix(read_table(dataset, 0), "observation.state")[4]
    for group, place in robot.source.map.target.layout("state").slices.items():
        if group in model.config.keys("state"):
            np.testing.assert_array_equal(seen["state"][group][0, 0], expected[place], err_msg=group)
    assert set(seen["state"]) == set(model.config.keys("state"))
    image = seen["video"]["ego_view"][0, 0]
    assert image.shape == (64, 64, 3)
    assert read(image).frame == 10
    assert seen["language"] == {"annotation.human.task_description": [["pick up the cube"]]}


def test_actions_come_at_the_rate_of_the_recordings_by_default(dataset: Path, robot: RobotControl) -> None:
    model = replay(dataset, robot)
    held = RobotPolicy(model, model.config, robot, ControlSettings(between="hold"))
    line = RobotPolicy(model, model.config, robot)
    seen = observation(robot, np.zeros(14, np.float32), draw(0))
    ticks, smooth = (stacked(robot, policy.get_action(seen)[0]) for policy in (held, line))
    assert len(ticks) == len(smooth) == 40
    np.testing.assert_array_equal(ticks[[0, 1, 2]], ticks[[0, 0, 0]])
    np.testing.assert_array_equal(ticks[::5], smooth[::5])  # each second step of the model is due with a tick
    np.testing.assert_allclose(smooth[1], ticks[0] + 0.4 * (ticks[3] - ticks[0]), rtol=1e-5, atol=1e-5)


def test_what_is_kept_back_is_blended_into_the_next_chunk_of_the_same_client(
    dataset: Path, robot: RobotControl
) -> None:
    model = replay(dataset, robot)
    plain = RobotPolicy(model, model.config, robot)
    policy = RobotPolicy(model, model.config, robot, ControlSettings(chunk_overlap=0.2))
    seen = observation(robot, np.zeros(14, np.float32), draw(0))
    whole = stacked(robot, plain.get_action(seen)[0])
    first = stacked(robot, policy.get_action(seen, client="a")[0])
    np.testing.assert_array_equal(first, whole[:30])
    second = stacked(robot, policy.get_action(seen, client="a")[0])
    share = (np.arange(1, 11) / 11)[:, None]
    np.testing.assert_allclose(second[:10], whole[30:] * (1 - share) + whole[:10] * share, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(second[10:], whole[10:30])
    np.testing.assert_array_equal(stacked(robot, policy.get_action(seen, client="b")[0]), first)
    policy.reset(client="a")
    np.testing.assert_array_equal(stacked(robot, policy.get_action(seen, client="a")[0]), first)
    assert model.num_resets == 1


def test_a_chunk_goes_over_from_what_was_due_when_its_robot_observed(dataset: Path, robot: RobotControl) -> None:
    """Who asks before all actions were executed is still in the middle of the chunk before."""
    model = replay(dataset, robot)
    policy = RobotPolicy(model, model.config, robot, ControlSettings(chunk_overlap=0.2))
    seen = observation(robot, np.zeros(14, np.float32), draw(0))
    whole = stacked(robot, RobotPolicy(model, model.config, robot).get_action(seen)[0])
    share = (np.arange(1, 11) / 11)[:, None]
    policy.get_action(seen)
    early = stacked(robot, policy.get_action(seen, {"num_executed": 12})[0])
    np.testing.assert_allclose(early[:10], whole[12:22] * (1 - share) + whole[:10] * share, rtol=1e-5, atol=1e-5)
    policy.reset()
    policy.get_action(seen)
    late = stacked(robot, policy.get_action(seen, {"num_executed": 40, "other": 1})[0])
    np.testing.assert_array_equal(late, whole[:30])  # nothing was left of the chunk before
    for wrong in (-1, 2.5, True, "3"):
        with pytest.raises(RequestError, match="num_executed must be a number of actions"):
            policy.get_action(seen, {"num_executed": wrong})


def test_frames_that_were_cropped_twice_are_made_so_live(source: Path, dataset: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "square", robot="aloha", fps="source")  # the centre of 96x64
    convert_here(tmp_path / "square", tmp_path / "gr1", map="aloha_to_gr1_rescaled", crop="pad", image_size="96x64")
    robot = control_of(tmp_path / "gr1", tmp_path / "checkpoint")
    model = replay(tmp_path / "gr1", robot)
    RobotPolicy(model, model.config, robot).get_action(observation(robot, np.zeros(14, np.float32), draw(10)))
    image = model.seen[0]["video"]["ego_view"][0, 0]
    assert image.shape == (64, 96, 3)
    assert read(image[:, 16:80]).frame == 10
    assert image[:, :16].max() <= 1

    convert_here(tmp_path / "gr1", tmp_path / "again", robot="same", crop="center")
    with pytest.raises(ConfigError, match="frames of ego_view were cropped or padded by more than one conversion"):
        control_of(tmp_path / "again", tmp_path / "third", robot="gr1")


def test_a_group_that_the_model_does_not_act_rests_and_is_named(dataset: Path, robot: RobotControl) -> None:
    model = replay(dataset, robot)
    action = model.config.modalities["action"]
    keys = tuple(key for key in action.modality_keys if key != "right_arm")
    fewer = replace(model.config, modalities={**model.config.modalities, "action": replace(action, modality_keys=keys)})
    model.config = fewer
    policy = RobotPolicy(model, fewer, robot)
    actions, _ = policy.get_action(observation(robot, np.zeros(14, np.float32), draw(0)))
    rest = np.float32(list(robot.source.robot.groups["right_arm"].rest_pose.values()))
    np.testing.assert_array_equal(actions["right_arm"][0], np.tile(rest, (40, 1)))
    assert "given at rest: right_waist 0, right_shoulder -0.96" in policy.lines[-1]
    assert "given at rest" not in "".join(RobotPolicy(model, replay(dataset, robot).config, robot).lines)


def test_a_model_that_gives_no_numbers_moves_nothing(dataset: Path, robot: RobotControl) -> None:
    class Broken(ReplayedModel):
        def get_action(self, observation: dict[str, Any]) -> Any:
            actions, facts = super().get_action(observation)
            return {**actions, "left_hand": np.full_like(actions["left_hand"], np.nan)}, facts

    whole = replay(dataset, robot)
    policy = RobotPolicy(Broken(whole.dataset, whole.slices, whole.config), whole.config, robot)
    with pytest.raises(RequestError, match="the model gives no number for left_gripper"):
        policy.get_action(observation(robot, np.zeros(14, np.float32), draw(0)))


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("video", "top", None, "there is no camera 'top'; got other"),
        ("video", "top", np.zeros((1, 1, 8, 8, 3)), "camera 'top': expected uint8 of (B, T, H, W, 3), got float64"),
        ("video", "top", np.zeros((1, 1, 8, 8), np.uint8), "camera 'top': expected uint8"),
        ("video", "top", np.zeros((1, 1, 0, 8, 3), np.uint8), "camera 'top': expected uint8"),
        ("video", "top", np.zeros((2, 1, 8, 8, 3), np.uint8), "the batch differs: camera 'top' 2, state 1"),
        ("video", "top", "a picture", "got str"),
        ("state", "left_arm", np.zeros((1, 1, 7)), "state of 'left_arm': expected (B, T, 6), got float64 of (1, 1, 7)"),
        ("state", "left_arm", np.full((1, 1, 6), np.inf), "left_waist, left_shoulder, left_elbow"),
        ("state", "left_gripper", np.zeros((1, 2, 1)), "state of 'left_gripper': expected (1, 1, 1)"),
        ("state", "right_arm", None, "there is no joint group 'right_arm'"),
        ("state", "left_arm", np.zeros((1, 1, 6), np.complex64), "got complex64"),
        ("language", "more", [["a"]], "language must have one key, got 2"),
        ("language", "annotation.human.task_description", [[7]], "an instruction must be a text"),
        ("language", "annotation.human.task_description", [["go"], ["on"]], "the batch differs"),
        ("language", "annotation.human.task_description", 3, "language must be a list of instructions"),
    ],
)
def test_a_wrong_observation_is_an_error_that_names_it(
    dataset: Path, robot: RobotControl, part: str, name: str, value: object, message: str
) -> None:
    model = replay(dataset, robot)
    policy = RobotPolicy(model, model.config, robot)
    seen = observation(robot, np.zeros(14, np.float32), draw(0))
    if value is None:
        del seen[part][name]
        seen[part]["other"] = 1
    else:
        seen[part][name] = value
    with pytest.raises(RequestError) as raised:
        policy.get_action(seen)
    assert message in str(raised.value)
    assert model.seen == []


def test_what_is_no_observation_is_an_error(dataset: Path, robot: RobotControl) -> None:
    model = replay(dataset, robot)
    policy = RobotPolicy(model, model.config, robot)
    for wrong in (None, 3, [], {}, {"video": 3}, {"video": {}, "state": {}, "language": {}}):
        with pytest.raises(RequestError):
            policy.get_action(wrong)


def test_settings_that_leave_nothing_are_refused(dataset: Path, robot: RobotControl) -> None:
    model = replay(dataset, robot)
    for overlap in (0.8, 3, -0.1, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="overlap"):
            RobotPolicy(model, model.config, robot, ControlSettings(chunk_overlap=overlap))


def test_a_checkpoint_says_how_its_dataset_came_from_the_robot(dataset: Path, robot: RobotControl) -> None:
    assert robot.source.robot.name == "aloha"
    assert robot.source.map.name == "aloha_to_gr1_rescaled"
    assert (robot.control.fps, robot.source.fps, robot.control.crop) == (20, 50, "center")
    assert (robot.control.sizes, robot.source.cameras) == ({"ego_view": (64, 64)}, {"ego_view": "top"})


def test_a_checkpoint_without_it_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match=r"does not say how its dataset came from a robot.*serve it without a robot"):
        choose_robot(str(tmp_path / "bare"), "aloha")
    assert known_robots(str(tmp_path / "bare")) == ()


def test_two_ways_from_one_robot_are_none(source: Path, dataset: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "other", map="aloha_to_gr1")
    (tmp_path / "run" / NOTES).mkdir(parents=True)
    write_control(tmp_path / "run" / NOTES, {dataset: TAG, tmp_path / "other": TAG})
    with pytest.raises(ConfigError, match="were converted in 2 ways"):
        choose_robot(str(tmp_path / "run"), "aloha", TAG)


def test_of_two_ways_the_one_of_the_tag_is_taken_and_another_tag_is_refused(
    source: Path, dataset: Path, tmp_path: Path
) -> None:
    convert_here(source, tmp_path / "own", robot="aloha")
    checkpoint = tmp_path / "run"
    (checkpoint / NOTES).mkdir(parents=True)
    write_control(checkpoint / NOTES, {dataset: TAG, tmp_path / "own": "new_embodiment"})
    assert known_tags(str(checkpoint), "aloha") == (TAG, "new_embodiment")
    assert choose_robot(str(checkpoint), "aloha", TAG).source.map.name == "aloha_to_gr1_rescaled"
    assert choose_robot(str(checkpoint), "aloha", "new_embodiment").source.map.target.name == "aloha"
    with pytest.raises(ConfigError, match="as gr1, new_embodiment, not as unitree_g1: it would act by a projector"):
        choose_robot(str(checkpoint), "aloha", "unitree_g1")


def test_recordings_at_two_rates_give_none_by_default(source: Path, dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "slow", lengths=(60,), fps=25)
    convert_here(tmp_path / "slow", tmp_path / "gr1", map="aloha_to_gr1_rescaled")
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    write_control(checkpoint / NOTES, {dataset: "new_embodiment", tmp_path / "gr1": "new_embodiment"})
    with pytest.raises(SettingsError, match="aloha was recorded at 25 and 50 Hz"):
        ServeSettings(checkpoint=str(checkpoint), robot="aloha").control()
    found = ServeSettings(checkpoint=str(checkpoint), robot="aloha", control_hz="50").control()
    assert found is not None
    assert found[1] == 50


def test_without_a_robot_the_server_says_in_whose_joints_it_speaks(dataset: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    settings = ServeSettings(checkpoint=str(checkpoint))
    assert settings.control() is None
    assert settings.joint_line().endswith("the checkpoint does not say how that came from a robot")
    write_control(checkpoint / NOTES, {dataset: "new_embodiment"})
    assert settings.joint_line().endswith("for the robot's own pass --robot aloha")
    (checkpoint / NOTES / CONTROL).write_text("{")
    assert "cannot be read" in settings.joint_line()
