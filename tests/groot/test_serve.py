"""`millrace serve` with GR00T's own server and client, on a tiny model; and servers that do not answer."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tiny import TINY_MODEL, WHY_NOT, command, run_python
from tiny_run import TinyRun, tiny_run

from millrace.train.errors import EvaluationError
from millrace.train.evaluate_settings import ServerAddress
from millrace.train.training_dataset import TrainingDataset

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

WIDTHS = {"left_arm": 7, "left_hand": 6, "right_arm": 7, "right_hand": 6, "waist": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory.getbasetemp())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


TOKEN = {"POLICY_TOKEN": "7f3c9a5e1b"}


@contextmanager
def served(run: TinyRun, *flags: str, where: str = "127.0.0.1") -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A server on a free port, once it listens; it is killed if it still runs afterwards."""
    port = free_port()
    arguments = ("-m", "millrace", "serve", run.checkpoint, "--device", "cpu", "--port", port)
    line = command(*arguments, "--import-module", TINY_MODEL, *flags)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | TOKEN
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            for said in process.stdout:
                if said.startswith("Server is ready"):
                    assert said.strip().endswith(f"tcp://{where}:{port}")
                    break
            else:
                raise AssertionError(process.communicate())
            yield port, process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(run: TinyRun) -> Iterator[int]:
    with served(run) as (port, _):
        yield port


@pytest.fixture(scope="module")
def wrapped(run: TinyRun) -> Iterator[int]:
    with served(run, "--use-sim-policy-wrapper") as (port, _):
        yield port


def test_json_says_where_the_server_listens_and_nothing_else(run: TinyRun) -> None:
    port = free_port()
    line = command("-m", "millrace", "serve", run.checkpoint, "--device", "cpu", "--port", port, "--json")
    line = [*line, "--import-module", str(TINY_MODEL), "--api-token-env", "POLICY_TOKEN"]
    known, pipe = os.environ | TOKEN, subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=known) as it:
        try:
            assert it.stdout is not None
            told = json.loads(it.stdout.readline())
            assert (told["address"], told["robot"], told["needs_token"]) == (f"tcp://127.0.0.1:{port}", None, True)
            words = ("--api-token-env", "POLICY_TOKEN", "--episodes", 0, "--json")
            scored = evaluate(run, port, *words, env=known)
            assert json.loads(scored.stdout)["best"] == f"127.0.0.1:{port}"
        finally:
            it.terminate()
        said, shown = it.communicate()
    assert said == ""
    assert "Server is ready" in shown


def evaluate(run: TinyRun, port: int, *flags: object, where: str = "127.0.0.1", **options: Any) -> Any:
    return run_python("-m", "millrace", "evaluate", run.heldout, "--server", f"{where}:{port}", *flags, **options)


def observation(side: int = 64) -> dict[str, Any]:
    """As GR00T's getting-started guide writes one."""
    return {
        "video": {"ego_view": np.zeros((1, 1, side, side, 3), np.uint8)},
        "state": {name: np.zeros((1, 1, width), np.float32) for name, width in WIDTHS.items()},
        "language": {"annotation.human.task_description": [["pick up the cube"]]},
    }


def test_groots_client_gets_an_action_chunk_of_every_group(server: int) -> None:
    from gr00t.policy.server_client import PolicyClient

    client = PolicyClient("127.0.0.1", server)
    assert client.ping()
    assert client.get_modality_config()["action"].modality_keys == list(WIDTHS)
    actions, _ = client.get_action(observation())
    assert {name: values.shape for name, values in actions.items()} == {n: (1, 16, w) for n, w in WIDTHS.items()}
    assert all(np.isfinite(values).all() for values in actions.values())


def test_a_running_server_is_scored(run: TinyRun, server: int) -> None:
    done = evaluate(run, server)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"127.0.0.1:{server}"
    assert all(re.search(rf"^ {name} +\d", done.stdout, re.MULTILINE) for name in WIDTHS)
    assert "1 episode, 60 steps, 16 of each chunk" in done.stdout


def test_a_server_for_simulators_is_scored_as_it_wants_to_be_asked(run: TinyRun, wrapped: int) -> None:
    done = evaluate(run, wrapped, "--use-sim-policy-wrapper", "--horizon", 8)
    assert done.returncode == 0, done.stderr
    assert "1 episode, 60 steps, 8 of each chunk" in done.stdout
    done = evaluate(run, wrapped)
    assert done.returncode == 1
    assert "Was it started with --use-sim-policy-wrapper? Then pass that here too" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_not_there_is_told_in_time(run: TinyRun) -> None:
    done = evaluate(run, free_port(), "--timeout", 1)
    assert done.returncode == 1
    assert "no answer to get_modality_config in 1 s. Start one with `millrace serve`" in done.stderr


def test_a_server_that_stops_answering_is_told_in_time(run: TinyRun) -> None:
    from millrace.train.episodes import EpisodeReader
    from millrace.train.groot.server_policy import ServerPolicy
    from millrace.train.open_loop import trace_episode

    with served(run) as (port, process):
        policy = ServerPolicy(ServerAddress("127.0.0.1", port), timeout_seconds=2, wrapped=False)
        reader = EpisodeReader(TrainingDataset.open(run.heldout), policy.config, policy.read_frames)
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(EvaluationError, match=r"no answer to get_action in 2 s"):
            trace_episode(policy, reader, 0, horizon=16)
        del policy  # closing waits for nothing either
        assert time.monotonic() - began < 20
        process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def guarded(run: TinyRun) -> Iterator[int]:
    """A server on IPv6 that wants a token and checks nothing of what it is sent."""
    with served(run, "--host", "::1", "--api-token-env", "POLICY_TOKEN", "--no-strict", where="[::1]") as (port, _):
        yield port


def test_a_server_with_a_token_on_ipv6_is_scored(run: TinyRun, guarded: int) -> None:
    token = ("--api-token-env", "POLICY_TOKEN")
    done = evaluate(run, guarded, *token, where="[::1]", env=os.environ | TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"[::1]:{guarded}"
    assert "1 episode, 60 steps" in done.stdout


@pytest.mark.parametrize("sent", [None, "wrong"])
def test_without_the_token_nobody_gets_actions_or_stops_the_server(
    run: TinyRun, guarded: int, sent: str | None
) -> None:
    from millrace.train.groot.server_policy import ServerPolicy, TimedClient

    with pytest.raises(EvaluationError, match=r"wants another token: .* --api-token-env"):
        ServerPolicy(ServerAddress("::1", guarded), timeout_seconds=5, wrapped=False, token=sent)
    client = TimedClient("[::1]", guarded, timeout_ms=5000, api_token=sent)
    for ask in (client.kill_server, lambda: client.get_action(observation())):
        with pytest.raises(RuntimeError, match="Unauthorized"):
            ask()
    assert TimedClient("[::1]", guarded, timeout_ms=5000, api_token=TOKEN["POLICY_TOKEN"]).ping()


def test_a_strict_server_checks_what_it_is_sent_and_another_does_not(server: int, guarded: int) -> None:
    from millrace.train.groot.server_policy import TimedClient

    wrong = observation()
    wrong["state"]["waist"] = wrong["state"]["waist"].astype(np.float64)
    strict = TimedClient("127.0.0.1", server, timeout_ms=60_000)
    with pytest.raises(RuntimeError, match="float32"):
        strict.get_action(wrong)
    other = TimedClient("[::1]", guarded, timeout_ms=60_000, api_token=TOKEN["POLICY_TOKEN"])
    actions, _ = other.get_action(wrong)
    assert {name: values.shape for name, values in actions.items()} == {n: (1, 16, w) for n, w in WIDTHS.items()}


def test_whoever_listens_there_may_be_no_gr00t_server() -> None:
    from millrace.train.groot.server_policy import ServerPolicy

    with socket.create_server(("127.0.0.1", 0)) as other:
        address = ServerAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(EvaluationError, match=f"^{address}: no answer to get_modality_config in 0.5 s"):
            ServerPolicy(address, timeout_seconds=0.5, wrapped=False)


def test_ctrl_c_ends_a_server(run: TinyRun) -> None:
    with served(run) as (_, process):
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "server stopped"
    assert "Traceback" not in told


def test_a_gpu_that_is_not_there_is_an_error(run: TinyRun) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPUs")
    done = run_python("-m", "millrace", "serve", run.checkpoint, "--port", free_port())
    assert done.returncode == 2
    assert (
        "sees no GPU here, for cuda. For a small model: evaluate --cpu, or serve --device cpu"
        in done.stderr.splitlines()[-1]
    )
