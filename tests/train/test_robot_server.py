"""A server in a robot's joints: its protocol, and clients that send nonsense, too much, or nothing."""

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("zmq")
msgpack = pytest.importorskip("msgpack")

import zmq  # noqa: E402

from conftest import convert_here  # noqa: E402
from millrace.client import PolicyClient, ServerError  # noqa: E402
from millrace.train import robot_server  # noqa: E402
from millrace.train.errors import RequestError, SettingsError  # noqa: E402
from millrace.train.robot_messages import ARRAY, ARRAY_BYTES, decode, encode  # noqa: E402
from millrace.train.robot_policy import RobotPolicy  # noqa: E402
from millrace.train.robot_server import MAX_MESSAGES, RobotServer  # noqa: E402
from millrace.train.server_access import read_token  # noqa: E402
from millrace.train.zmtp import GREETING, encode_message  # noqa: E402
from support.barcode import draw  # noqa: E402
from support.replayed_model import control_of, replay  # noqa: E402
from support.synthetic import write_dataset  # noqa: E402

TOKEN = "3f9a7c"
MAX_BYTES = 4 << 20
STATE = {"left_arm": np.zeros(6), "left_gripper": [0.5], "right_arm": np.zeros(6), "right_gripper": [0.5]}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> RobotPolicy:
    root = tmp_path_factory.mktemp("served")
    write_dataset(root / "source", lengths=(80,))
    convert_here(root / "source", root / "gr1")
    robot = control_of(root / "gr1", root / "checkpoint")
    model = replay(root / "gr1", robot)
    return RobotPolicy(model, model.config, robot)


@pytest.fixture
def server(policy: RobotPolicy) -> Iterator[RobotServer]:
    """A server that is running; stopped as a client stops it."""
    made = RobotServer(policy, "tcp://127.0.0.1:0", token=TOKEN, max_message_bytes=MAX_BYTES)
    address = made.address
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    with PolicyClient("127.0.0.1", int(address.rpartition(":")[2]), token=TOKEN) as client:
        assert client.is_running()  # whatever happened, it lives
        client._ask("kill")
    thread.join(timeout=20)
    assert not thread.is_alive()


def client_of(server: RobotServer, token: str | None = TOKEN, timeout_seconds: float = 20) -> PolicyClient:
    return PolicyClient("127.0.0.1", port_of(server), token=token, timeout_seconds=timeout_seconds)


def port_of(server: RobotServer) -> int:
    return int(server.address.rpartition(":")[2])


def test_a_client_without_gr00t_gets_joint_targets_by_group(server: RobotServer) -> None:
    with client_of(server) as client:
        assert client.names() == {
            "video": ("top",),
            "state": tuple(STATE),
            "action": tuple(STATE),
            "language": ("annotation.human.task_description",),
        }
        client.reset()
        actions = client.act(images={"top": draw(0)}, state=STATE, instruction="go")
    assert {name: values.shape for name, values in actions.items()} == {
        "left_arm": (40, 6),
        "left_gripper": (40, 1),
        "right_arm": (40, 6),
        "right_gripper": (40, 1),
    }


def test_the_client_knows_the_rate_of_the_actions_and_sends_no_image_but_bytes(server: RobotServer) -> None:
    """Floats in [0, 1] as uint8 would all be black."""
    with client_of(server) as client:
        assert client.control_hz is None
        with pytest.raises(RequestError, match=r"camera 'top': expected uint8 of \(H, W, 3\), got float64"):
            client.act(images={"top": draw(0) / 255}, state=STATE, instruction="go")
        client.act(images={"top": draw(0)}, state=STATE, instruction="go")
        assert client.control_hz == 50


def test_an_answer_that_is_none_is_an_error_at_the_client() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        thread = threading.Thread(target=lambda: other.send(other.recv() and b"\xc1"))
        thread.start()
        with (
            PolicyClient("127.0.0.1", port, timeout_seconds=20) as client,
            pytest.raises(ServerError, match="the message cannot be read"),
        ):
            client.reset()
        thread.join(timeout=20)


def test_a_wrong_observation_is_an_error_at_the_client(server: RobotServer) -> None:
    with client_of(server) as client:
        with pytest.raises(ServerError, match="there is no camera 'top'; got front"):
            client.act(images={"front": draw(0)}, state=STATE, instruction="go")
        assert client.act(images={"top": draw(0)}, state=STATE, instruction="go")


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "0", "\ud800"])
def test_a_request_without_the_token_is_refused(server: RobotServer, token: str | None) -> None:
    request = {"endpoint": "kill", **({} if token is None else {"api_token": token.encode("utf-8", "replace")})}
    answer = decode(server.answer(msgpack.packb(request), b"client"))
    assert answer == {"error": "Unauthorized: Invalid API token"}
    if token:
        with client_of(server, token.encode("ascii", "replace").decode()) as client, pytest.raises(ServerError):
            client.names()


NONSENSE = [
    b"",
    b"\xc1",
    b"hello",
    msgpack.packb(3),
    msgpack.packb([1, 2]),
    msgpack.packb({"endpoint": "rm -rf", "api_token": TOKEN}),
    msgpack.packb({"endpoint": ["get_action"], "api_token": TOKEN}),
    msgpack.packb({"endpoint": "get_action", "api_token": TOKEN}),
    msgpack.packb({"endpoint": "get_action", "data": [1], "api_token": TOKEN}),
    msgpack.packb({"endpoint": "get_action", "data": {"observation": {"video": 1}}, "api_token": TOKEN}),
    msgpack.packb({1: 2}),
    b"\x91" * 100_000,  # lists in lists
    b"\xdd\xff\xff\xff\xff",  # four billion items, none of which comes
    b"\xdc\xff\xff" + b"\x80" * 65535,  # many mappings
    msgpack.packb([[[0] * 100] * 100] * 100),
]


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_answered_with_an_error(server: RobotServer, message: bytes) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.RCVTIMEO, 20_000)
        socket.connect(server.address)
        socket.send(message)
        assert list(decode(socket.recv())) == ["error"]


@given(st.binary(max_size=200))
def test_no_bytes_end_the_server(policy: RobotPolicy, message: bytes) -> None:
    server = RobotServer.__new__(RobotServer)
    server._policy, server._token, server._endpoints = policy, TOKEN, {}
    assert list(decode(server.answer(message, b"client"))) == ["error"]


def test_a_message_that_is_too_large_ends_its_connection_alone(server: RobotServer) -> None:
    with client_of(server) as other:
        with client_of(server, timeout_seconds=0.5) as client, pytest.raises(ServerError, match="no answer"):
            client.act(images={"top": np.zeros((2000, 2000, 3), np.uint8)}, state=STATE, instruction="go")
        assert other.is_running()


def test_a_request_of_too_many_parts_ends_its_connection_alone(server: RobotServer) -> None:
    """Each part is small enough; the last one never comes."""
    with client_of(server) as other, zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.SNDHWM, 1)
        dealer.connect(server.address)
        with dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED) as events:
            for _ in range(2 * MAX_BYTES >> 20):
                dealer.send(bytes(1 << 20), zmq.SNDMORE)
            dealer.send(b"")
            assert events.poll(20_000), "the server kept all of it"
        assert other.is_running()


def test_unfinished_requests_of_many_clients_are_bounded(server: RobotServer) -> None:
    """The one that has sent most is closed."""
    with client_of(server) as other:
        part = encode_message([bytes(3 << 20)])[: 3 << 20]
        many = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(8)]
        for one in many:
            one.sendall(GREETING + part)
        assert other.is_running()
        assert server._num_unfinished <= MAX_MESSAGES * MAX_BYTES
        for one in many:
            one.close()


def test_a_connection_too_many_closes_the_one_that_was_silent_for_longest(
    server: RobotServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robot_server, "MAX_CONNECTIONS", 3)
    with client_of(server) as client:
        assert client.is_running()
        silent = []
        for _ in range(4):
            silent.append(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
            assert silent[-1].recv(len(GREETING)) == GREETING
            assert client.is_running()
        assert silent[0].recv(1) == b""
        assert len(server._connections) == 3
        for one in silent:
            one.close()


def test_half_a_request_and_other_protocols_block_nobody(server: RobotServer) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server))) as web:
        web.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.connect(server.address)
            dealer.send(b"no empty frame")
            dealer.send_multipart([b"", b"a", b"b"])
            with client_of(server) as client:
                assert client.is_running()


def test_a_client_that_leaves_before_its_answer_harms_nobody(server: RobotServer) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 1000)
        socket.connect(server.address)
        socket.send(encode({"endpoint": "get_modality_config", "api_token": TOKEN}))
    with client_of(server) as client:
        assert client.is_running()


def npy(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.array([{}], object), allow_pickle=True), "an array of object with 1 dimensions is not taken"),
        (npy(np.array(["text"])), "is not taken"),
        (npy(np.zeros((1,) * 12)), "with 12 dimensions is not taken"),
        (npy(np.zeros(4))[:-1], "has 32 bytes, 31 came"),
        (npy(np.zeros(4)).replace(b"(4,)", b"(9,)"), "has 72 bytes, 32 came"),
        (npy(np.zeros(4)).replace(b"(4,), }          ", b"(99999999999,), }"), "bytes, 32 came"),
        (npy(np.zeros(4)).replace(b"(4,)", b"(-4)"), "is no .npy file|is not taken"),
        (b"\x93NUMPY\x03\x00", "is no .npy file"),
        (b"PK\x03\x04", "is no .npy file"),
        ("text", "must come as the bytes"),
    ],
)
def test_an_array_that_is_none_is_refused(content: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decode(msgpack.packb({ARRAY: True, ARRAY_BYTES: content}))


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i8", "?", ">f4"])
def test_arrays_come_through_as_they_are(dtype: str) -> None:
    for value in (np.arange(6, dtype="u1").astype(dtype).reshape(2, 3), np.zeros((0, 3), dtype), np.array(3, dtype)):
        for shaped in (value, np.asfortranarray(value)):
            (back,) = decode(encode([shaped]))
            assert back.dtype == value.dtype
            np.testing.assert_array_equal(back, value)


def test_a_server_that_is_not_there_is_told_in_time() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with PolicyClient("127.0.0.1", probe.getsockname()[1], timeout_seconds=0.1) as client:
            assert not client.is_running()
            with pytest.raises(ServerError, match=r"no answer to reset in 0\.1 s"):
                client.reset()


def test_a_token_can_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(None, file) == TOKEN
    with pytest.raises(SettingsError, match="both name a token"):
        read_token("NAME", file)
    for content in ("", "\n", "a" * 5000, "two\nlines"):
        file.write_text(content)
        with pytest.raises(SettingsError, match="holds no token of one line"):
            read_token(None, file)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(None, file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(None, tmp_path / "none")
