"""Rollouts of a server's policy: chunk by chunk, from the seeds that were asked for."""

import json
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("zmq")
pytest.importorskip("msgpack")

from conftest import REPOSITORY, convert_here
from millrace.cli import main
from millrace.client import PolicyClient
from millrace.embodiments import load_robot
from millrace.train.control_notes import choose_robot
from millrace.train.robot_policy import RobotPolicy
from millrace.train.robot_server import RobotServer
from millrace.train.rollout.driving import roll_out
from millrace.train.rollout.served import OwnPolicy, ServedPolicy
from support.point_robot import PointRobot
from support.recordings_with_seeds import write_recording
from support.replayed_model import ReplayedModel, control_of, replay

ADAPTER = REPOSITORY / "tests/support/point_robot.py"
MAX_BYTES = 4 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ReplayedModel, str]]:
    """A model that opens the left gripper at the end of its only chunk, and the address of its server."""
    root = tmp_path_factory.mktemp("served")
    convert_here(write_recording(root / "recording"), root / "gr1", map="aloha_to_gr1_rescaled", horizon=16)
    robot = control_of(root / "gr1", root / "checkpoint")
    model = replay(root / "gr1", robot)
    server = RobotServer(
        RobotPolicy(model, model.config, robot), "tcp://127.0.0.1:0", token=None, max_message_bytes=MAX_BYTES
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    address = server.address.removeprefix("tcp://")
    yield model, address
    with PolicyClient(port=int(address.rpartition(":")[2])) as client:
        client._ask("kill")
    thread.join(timeout=20)


def run_rollout(address: str, *flags: str) -> int:
    return main(["rollout", "--env", "point", "--policy", address, "--adapter", str(ADAPTER), *flags])


def test_a_served_policy_drives_in_the_robots_own_joints(
    served: tuple[ReplayedModel, str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, address = served
    assert run_rollout(address, "--instruction", "open", "--episodes", "2", "--seed", "5", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["seed"] for one in found["episodes"]] == [5, 6]
    assert found["num_successes"] == 2
    assert model.num_resets == 2
    assert [seen["language"]["annotation.human.task_description"] for seen in model.seen] == [[["open"]]] * 2


def test_a_policy_of_this_process_acts_as_its_server_does(served: tuple[ReplayedModel, str]) -> None:
    model, address = served
    robot = load_robot("aloha")
    control = choose_robot(str(model.dataset.parent / "checkpoint"), "aloha")
    own = OwnPolicy(RobotPolicy(model, model.config, control), "here")
    host, _, port = address.rpartition(":")
    found = []
    with PolicyClient(host, int(port), timeout_seconds=20) as client:
        for source in (own, client):
            policy = ServedPolicy(source, robot, control_fps=Fraction(50), instruction="open", first_seed=3)
            (trace,) = roll_out(PointRobot("point", with_images=True), policy, [0], max_steps=60)
            found.append((trace.outcome, trace.states.tolist()))
    assert found[0] == found[1]
    assert found[0][0].seed == 3


def test_an_episode_without_success_ends_after_the_steps_that_were_asked_for(
    served: tuple[ReplayedModel, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, address = served
    assert run_rollout(address, "--instruction", "open", "--episodes", "1", "--max-steps", "3", "--json") == 0
    (outcome,) = json.loads(capsys.readouterr().out)["episodes"]
    assert (outcome["num_steps"], outcome["is_success"]) == (3, False)


def test_a_server_at_another_rate_than_the_robots_is_refused(
    served: tuple[ReplayedModel, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Targets for 50 Hz, sent 20 times a second, would move the robot at 2/5 of the speed."""
    _, address = served
    slow = tmp_path / "slow.py"
    slow.write_text(ADAPTER.read_text().replace("Fraction(50)", "Fraction(20)"))
    flags = ["--policy", address, "--adapter", str(slow), "--instruction", "go"]
    assert main(["rollout", "--env", "x", *flags]) == 2
    told = capsys.readouterr().err
    assert "gives actions at 50 Hz, and this environment takes 20 a second" in told
    assert "--robot aloha --control-hz 20" in told


def test_a_policy_must_be_told_what_to_do(
    served: tuple[ReplayedModel, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, address = served
    assert run_rollout(address) == 2
    assert "a policy is told what to do; say it: --instruction TEXT" in capsys.readouterr().err


def test_a_server_of_another_robot_is_refused(
    served: tuple[ReplayedModel, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, address = served
    other = tmp_path / "other.py"
    other.write_text(ADAPTER.read_text().replace('robot = "aloha"', 'robot = "gr1"'))
    assert main(["rollout", "--env", "x", "--policy", address, "--adapter", str(other), "--instruction", "go"]) == 2
    assert "has state groups left_arm, left_gripper, right_arm, right_gripper, and 'gr1' has" in capsys.readouterr().err
