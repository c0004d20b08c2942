"""ZeroMQ's wire protocol, ZMTP 3.0 without encryption, as a server reads it: messages are bounded as a whole.

libzmq's own sockets bound each part of a message, and keep any number of parts until the last one comes.
Source: https://rfc.zeromq.org/spec/23/.
"""

from collections.abc import Callable, Iterator, Sequence

from millrace.train.errors import RequestError

# Signature, version 3.0, mechanism NULL, which has no server.
GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL").ljust(64, b"\0")
SIGNATURE_END, MAJOR_VERSION, MECHANISM = 9, 10, slice(12, 32)
MORE, LONG, COMMAND = 1, 2, 4
PING, PONG, FAILED = b"\x04PING", b"\x04PONG", b"\x05ERROR"
# Behind PING: a time to live, which is not used, and at most so much context, which PONG repeats.
TTL_BYTES, CONTEXT_BYTES = 2, 16
# What Python keeps a part in, so that empty parts are bounded, too.
PART_BYTES = 64


class Connection:
    """What a peer sends, chunk by chunk, as whole messages.

    Args:
        socket_type: Of this end, such as "ROUTER".
        max_message_bytes: The largest message, all its parts together.
        send: Sends bytes to the peer, to which GREETING is sent first.
    """

    def __init__(self, socket_type: str, *, max_message_bytes: int, send: Callable[[bytes], None]) -> None:
        self._socket_type, self._max_bytes, self._send = socket_type, max_message_bytes, send
        self._buffer = bytearray()
        self._is_greeted = False
        self._parts: list[bytes] = []
        self._num_part_bytes = 0

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept of a message that has not ended."""
        return len(self._buffer) + self._num_part_bytes

    def receive(self, chunk: bytes) -> Iterator[list[bytes]]:
        """Take a chunk; yields the parts of each message that ends in it.

        Raises:
            RequestError: it is no ZMTP 3, or a message is too large; the connection is to be closed.
        """
        self._buffer += chunk
        if not self._is_greeted and not self._take_greeting():
            return
        while (frame := self._take_frame()) is not None:
            flags, body = frame
            if flags & COMMAND:
                self._obey(body)
                continue
            self._parts.append(body)
            self._num_part_bytes += len(body) + PART_BYTES
            if not flags & MORE:
                parts, self._parts, self._num_part_bytes = self._parts, [], 0
                yield parts

    def _take_greeting(self) -> bool:
        """Whether the greeting has come; it is answered then."""
        start = bytes(self._buffer[: len(GREETING)])
        is_signature = start[:1] == b"\xff" and start[SIGNATURE_END : SIGNATURE_END + 1] in (b"", b"\x7f")
        if not is_signature or (len(start) > MAJOR_VERSION and start[MAJOR_VERSION] < GREETING[MAJOR_VERSION]):
            raise RequestError("the connection does not speak ZMTP 3")
        if len(start) < len(GREETING):
            return False
        if start[MECHANISM] != GREETING[MECHANISM]:
            raise RequestError("the connection wants another security mechanism than NULL")
        del self._buffer[: len(GREETING)]
        self._is_greeted = True
        self._send(_encode_ready(self._socket_type.encode()))
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """The flags and the body of the next frame; None while it has not come as a whole."""
        buffer = self._buffer
        start = 9 if buffer and buffer[0] & LONG else 2
        if len(buffer) < start:
            return None
        flags, end = buffer[0], start + int.from_bytes(buffer[1:start], "big")
        if flags > MORE | LONG | COMMAND:
            raise RequestError("the connection sends what is no frame")
        if self._num_part_bytes + end - start > self._max_bytes:
            raise RequestError(f"a message has more than {self._max_bytes} bytes")
        if len(buffer) < end:
            return None
        body = bytes(buffer[start:end])
        del buffer[:end]
        return flags, body

    def _obey(self, command: bytes) -> None:
        if command.startswith(FAILED):
            raise RequestError("the peer has ended the connection")
        if command.startswith(PING):
            context = command[len(PING) + TTL_BYTES :][:CONTEXT_BYTES]
            self._send(_encode_frame(PONG + context, COMMAND))


def encode_message(parts: Sequence[bytes]) -> bytes:
    """A message of one part or several."""
    *before, last = parts
    return b"".join([*(_encode_frame(part, MORE) for part in before), _encode_frame(last, 0)])


def _encode_frame(body: bytes, flags: int) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


def _encode_ready(socket_type: bytes) -> bytes:
    """The command that ends the handshake."""
    properties = ((b"Socket-Type", socket_type), (b"Identity", b""))
    listed = (bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in properties)
    return _encode_frame(b"\x05READY" + b"".join(listed), COMMAND)
