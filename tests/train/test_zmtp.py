"""ZeroMQ's protocol as bytes: messages come through whole, however they are cut, and are bounded as a whole."""

from collections.abc import Iterable
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.train.errors import RequestError
from millrace.train.zmtp import COMMAND, GREETING, MORE, PART_BYTES, PING, Connection, encode_message

MAX_BYTES = 1000


def connect() -> tuple[Connection, list[bytes]]:
    """A connection whose greeting has come, and what is sent to its peer."""
    sent: list[bytes] = []
    connection = Connection("ROUTER", max_message_bytes=MAX_BYTES, send=sent.append)
    assert list(connection.receive(GREETING)) == []
    return connection, sent


def feed(connection: Connection, chunks: Iterable[bytes]) -> list[list[bytes]]:
    return [message for chunk in chunks for message in connection.receive(chunk)]


@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=3), max_size=4), st.data())
def test_messages_come_through_however_they_are_cut(messages: list[list[bytes]], data: st.DataObject) -> None:
    content = GREETING + b"".join(map(encode_message, messages))
    sent: list[bytes] = []
    connection, found = Connection("ROUTER", max_message_bytes=MAX_BYTES, send=sent.append), []
    while content:
        size = data.draw(st.integers(1, len(content)))
        found += connection.receive(content[:size])
        content = content[size:]
    assert found == messages
    assert connection.num_bytes == 0
    assert [b"READY" in answer for answer in sent] == [True]


@pytest.mark.parametrize("part", [b"", bytes(100), bytes(900)])
def test_parts_without_end_are_bounded(part: bytes) -> None:
    connection, _ = connect()
    frame = encode_message([part, b""])[:-2]  # without the last part
    parts = repeat(frame, MAX_BYTES // PART_BYTES + 2)
    with pytest.raises(RequestError, match="a message has more than 1000 bytes"):
        feed(connection, parts)
    assert connection.num_bytes <= 2 * MAX_BYTES


def test_a_part_that_claims_too_much_is_refused_before_it_comes() -> None:
    connection, _ = connect()
    with pytest.raises(RequestError, match="more than 1000 bytes"):
        list(connection.receive(bytes([MORE | 2]) + (1 << 40).to_bytes(8, "big")))


def test_a_ping_is_answered() -> None:
    connection, sent = connect()
    body = PING + bytes(2) + b"hello"
    assert list(connection.receive(bytes([COMMAND, len(body)]) + body)) == []
    assert sent[-1] == bytes([COMMAND, 10]) + b"\x04PONGhello"


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1",
        b"\xff" + bytes(8) + b"\x7f\x01" + bytes(60),  # ZMTP 2.0
        GREETING.replace(b"NULL\0", b"CURVE"),
        GREETING + b"\x80\x00",
        GREETING + bytes([COMMAND, 7]) + b"\x05ERROR\x00",
    ],
)
def test_what_is_no_request_ends_the_connection(content: bytes) -> None:
    connection = Connection("ROUTER", max_message_bytes=MAX_BYTES, send=lambda answer: None)
    with pytest.raises(RequestError):
        list(connection.receive(content))
