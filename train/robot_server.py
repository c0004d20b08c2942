"""A server that speaks GR00T's protocol in a robot's own joints; whatever a client sends, it lives."""

import hmac
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from millrace.embodiments import MillraceError
from millrace.engine.text import printable
from millrace.train.errors import RequestError
from millrace.train.robot_messages import decode, encode, encode_config
from millrace.train.robot_policy import RobotPolicy
from millrace.train.zmtp import GREETING, Connection, encode_message

MAX_MESSAGE_BYTES = 64 << 20  # ten uncompressed frames of 1080p
MAX_MESSAGES = 4  # so many of the largest are kept in part, of all clients together
MAX_CONNECTIONS = 256  # each is an open file; of more the one that was silent for longest is closed
MAX_WAITING = 16  # chunks of a client, and answers to it
UNAUTHORIZED = "Unauthorized: Invalid API token"  # as gr00t/policy/server_client.py says it


class RobotServer:
    """Answers requests one by one, and closes connections whose messages are too large.

    Args:
        policy: Answers `get_action`, `reset` and `get_modality_config`.
        address: Such as "tcp://127.0.0.1:5555"; port 0 takes a free one.
        token: What every request must carry; None: nothing.
        max_message_bytes: The largest request. Of requests that have not ended it keeps MAX_MESSAGES times as much.
    """

    def __init__(
        self,
        policy: RobotPolicy,
        address: str,
        *,
        token: str | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._policy, self._token = policy, token
        self._is_running = True
        self._max_message_bytes = max_message_bytes
        self._connections: dict[bytes, Connection] = {}
        # Bytes of requests that have not ended: of each client, and of all.
        self._unfinished: dict[bytes, int] = {}
        self._num_unfinished = 0
        self._context = zmq.Context()
        # Bytes as they come: libzmq's other sockets keep a message of any number of parts.
        self._socket = self._context.socket(zmq.STREAM)
        self._socket.setsockopt(zmq.IPV6, "[" in address)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
        self._socket.setsockopt(zmq.SNDHWM, MAX_WAITING)
        self._socket.bind(address)
        self._endpoints: dict[str, Callable[[dict[str, Any], bytes], object]] = {
            "ping": lambda data, client: {"status": "ok", "message": "Server is running"},
            "kill": self._stop,
            "get_action": self._act,
            "reset": lambda data, client: policy.reset(data.get("options"), client=client),
            "get_modality_config": lambda data, client: {
                part: encode_config(*described) for part, described in policy.describe().items()
            },
        }

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def run(self) -> None:
        """Answer requests until a client says "kill"."""
        print(f"Server is ready and listening on {self.address}", flush=True)
        try:
            while self._is_running:
                self._serve_one()
        finally:
            self._context.destroy(linger=1000)

    def _serve_one(self) -> None:
        """Take a chunk of a client's; an empty one says that it has come or gone."""
        client, chunk = self._socket.recv_multipart()
        connection = self._connections.get(client)
        if chunk and connection is not None:
            self._connections[client] = self._connections.pop(client)  # the one that spoke last comes last
            self._read(client, connection, chunk)
        elif connection is not None:
            self._forget(client)
        elif not chunk:
            if len(self._connections) >= MAX_CONNECTIONS:
                self._close(next(iter(self._connections)), "too many connections")
            send = partial(self._send, client)
            self._connections[client] = Connection("ROUTER", max_message_bytes=self._max_message_bytes, send=send)
            send(GREETING)

    def _read(self, client: bytes, connection: Connection, chunk: bytes) -> None:
        try:
            for parts in connection.receive(chunk):
                # A REQ socket, as GR00T's client has, sends an empty part and its message; others get no answer.
                if len(parts) == 2 and not parts[0]:
                    self._send(client, encode_message([b"", self.answer(parts[1], client)]))
        except RequestError as error:
            self._close(client, str(error))
        if client in self._connections:
            self._count(client, connection.num_bytes)
        if self._num_unfinished > MAX_MESSAGES * self._max_message_bytes:
            self._close(max(self._unfinished, key=self._unfinished.__getitem__), "too much is unfinished")

    def _count(self, client: bytes, num_bytes: int) -> None:
        """Keep account of what there is of a client's request that has not ended."""
        self._num_unfinished += num_bytes - self._unfinished.pop(client, 0)
        if num_bytes:
            self._unfinished[client] = num_bytes

    def _send(self, client: bytes, content: bytes) -> None:
        """Send bytes to a client, unless it is gone or takes none."""
        try:
            self._socket.send_multipart([client, content], zmq.NOBLOCK)
        except zmq.ZMQError:
            self._forget(client)

    def _close(self, client: bytes, reason: str) -> None:
        print(f"Connection closed: {reason}", flush=True)
        self._send(client, b"")
        self._forget(client)

    def _forget(self, client: bytes) -> None:
        self._connections.pop(client, None)
        self._count(client, 0)

    def answer(self, message: bytes, client: bytes) -> bytes:
        """The answer to a request; an error where it is none."""
        try:
            return encode(self._handle(message, client))
        except MillraceError as error:
            return self._report(str(error))
        except Exception as error:  # the model's own, of whatever kind: others may still be answered
            return self._report(f"{type(error).__name__}: {error}")

    def _handle(self, message: bytes, client: bytes) -> object:
        request = decode(message)
        if not isinstance(request, dict):
            raise RequestError(f"a request must be a mapping, got {type(request).__name__}")
        if not self._is_allowed(request.get("api_token")):
            raise RequestError(UNAUTHORIZED)
        name = request.get("endpoint", "get_action")
        if not isinstance(name, str) or name not in self._endpoints:
            raise RequestError(f"Unknown endpoint: {str(name)[:80]}. Known: {', '.join(self._endpoints)}")
        data = request.get("data") or {}
        if not isinstance(data, dict):
            raise RequestError(f"data must be a mapping, got {type(data).__name__}")
        return self._endpoints[name](data, client)

    def _is_allowed(self, token: object) -> bool:
        if self._token is None:
            return True
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self._token.encode())

    def _act(self, data: dict[str, Any], client: bytes) -> object:
        return self._policy.get_action(data.get("observation"), data.get("options"), client=client)

    def _stop(self, data: dict[str, Any], client: bytes) -> object:
        self._is_running = False
        return {"status": "ok"}

    def _report(self, reason: str) -> bytes:
        line = printable(reason)[:2000]
        print(f"Error in server: {line}", flush=True)
        return encode({"error": line})
