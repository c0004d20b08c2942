"""`millrace serve --robot`: a tiny checkpoint in the joints of the robot that its dataset was recorded with."""

import json
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from test_serve import free_port, observation, served
from tiny import TINY_MODEL, WHY_NOT, run_python
from tiny_run import TinyRun, tiny_run

from conftest import REPOSITORY

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

WIDTHS = {"left_arm": 6, "left_gripper": 1, "right_arm": 6, "right_gripper": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def server(run: TinyRun) -> Iterator[int]:
    with served(run, "--robot", "aloha") as (port, _):
        yield port


def state() -> dict[str, NDArray[np.float32]]:
    return {name: np.linspace(0.1, 0.6, width, dtype=np.float32) for name, width in WIDTHS.items()}


def test_a_checkpoint_acts_in_the_robots_own_joints_at_its_own_rate(server: int) -> None:
    from millrace.client import PolicyClient

    with PolicyClient("127.0.0.1", server, timeout_seconds=60) as policy:
        assert policy.names()["action"] == policy.names()["state"] == tuple(WIDTHS)
        assert policy.names()["video"] == ("top",)
        policy.reset()
        image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
        actions = policy.act(images={"top": image}, state=state(), instruction="pick up the cube")
    # 16 steps at 20 Hz are 0.8 s, 40 ticks at the 50 Hz of the recordings.
    assert {name: values.shape for name, values in actions.items()} == {n: (40, w) for n, w in WIDTHS.items()}
    assert all(np.isfinite(values).all() for values in actions.values())


def test_groots_own_client_is_answered_too_and_a_wrong_observation_ends_nothing(server: int) -> None:
    from gr00t.policy.server_client import PolicyClient

    client = PolicyClient("127.0.0.1", server)
    assert client.ping()
    assert client.get_modality_config()["action"].modality_keys == list(WIDTHS)
    with pytest.raises(RuntimeError, match="there is no camera 'top'; got ego_view"):
        client.get_action(observation())
    seen = {
        "video": {"top": np.zeros((1, 1, 60, 80, 3), np.uint8)},
        "state": {name: values[None, None] for name, values in state().items()},
        "language": {"annotation.human.task_description": [["pick up the cube"]]},
    }
    actions, facts = client.get_action(seen)
    assert {name: values.shape for name, values in actions.items()} == {n: (1, 40, w) for n, w in WIDTHS.items()}
    assert facts == {"control_hz": 50.0}


def test_another_rate_and_an_overlap_are_kept(run: TinyRun) -> None:
    from millrace.client import PolicyClient

    flags = ("--robot", "aloha", "--control-hz", "30", "--between", "hold", "--chunk-overlap", "0.2")
    with served(run, *flags) as (port, _), PolicyClient("127.0.0.1", port, timeout_seconds=60) as policy:
        image = np.zeros((48, 64, 3), np.uint8)
        actions = policy.act(images={"top": image}, state=state(), instruction="pick up the cube")
        assert {len(values) for values in actions.values()} == {24 - 6}


def roll_out(policy: object, *flags: object) -> "subprocess.CompletedProcess[str]":
    adapter = ("--env", "point", "--adapter", REPOSITORY / "tests/support/point_robot.py")
    told = ("--instruction", "pick up the cube", "--episodes", 1, "--max-steps", 90, "--json")
    return run_python("-m", "millrace", "rollout", *adapter, "--policy", policy, *told, *flags)


def test_a_rollout_is_driven_by_the_server_and_by_the_checkpoint_itself(run: TinyRun, server: int) -> None:
    here = ("--device", "cpu", "--import-module", TINY_MODEL)
    for policy, flags in ((f"127.0.0.1:{server}", ()), (run.checkpoint, here)):
        done = roll_out(policy, *flags)
        assert done.returncode == 0, done.stderr
        (outcome,) = json.loads(done.stdout)["episodes"]
        assert outcome["num_steps"] == 90 or outcome["is_success"]


def serve(run: TinyRun, *flags: object) -> "subprocess.CompletedProcess[str]":
    return run_python("-m", "millrace", "serve", run.checkpoint, "--device", "cpu", "--port", free_port(), *flags)


def test_a_robot_that_the_checkpoint_does_not_know_is_refused_before_the_model_is_loaded(run: TinyRun) -> None:
    done = serve(run, "--robot", "alhoa")
    assert done.returncode == 2
    assert "'alhoa' is not a robot of" in done.stderr
    assert "Did you mean 'aloha'? Known: aloha" in done.stderr
    assert "loading" not in done.stdout
    assert "need --robot" in serve(run, "--control-hz", 50).stderr
